"""The rows that the tests of clustering have."""

from clustering.conftest import values

__all__ = ["values"]
