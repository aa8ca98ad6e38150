"""The study of palettes."""
