"""The rows that the tests of clustering have."""

from clustering.conftest import threads, values

__all__ = ["threads", "values"]
