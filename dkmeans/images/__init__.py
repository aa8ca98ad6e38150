"""Bytes to arrays and back: where images come from, how they are decoded and encoded."""
