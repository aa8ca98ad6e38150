"""The study of images of one size, such as faces."""
