"""The parts of quantize: which images there are, and how they become files or one archive."""
