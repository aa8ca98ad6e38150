"""The browser, for all tests of pages."""

from report.browser import browser

__all__ = ["browser"]
