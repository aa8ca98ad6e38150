"""Pixels to rows and rows to pixels: pure functions of arrays."""
