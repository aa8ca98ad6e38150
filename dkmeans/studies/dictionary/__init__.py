"""The study of dictionaries of patches."""
