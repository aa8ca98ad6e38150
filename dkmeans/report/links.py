"""Links from a page to files, as ways from one to the other, so that both can be moved together."""

from __future__ import annotations

import os
from urllib.parse import quote

from dkmeans.storage.urls import is_local

__all__ = ["relative"]


def relative(url: str, page: str) -> str | None:
    """The way from the page to a file or folder; None where the page could not reach it.

    A local page reaches all local files, one in a bucket what lies in its folder or below.

    Parameters
    ----------
    url, page : str
        Absolute local paths, or URLs.
    """
    folder = page.rpartition("/")[0]
    if is_local(url) and is_local(page):
        return quote(os.fsencode(os.path.relpath(url, folder)))
    below = url.removeprefix(f"{folder}/")
    return None if below == url else quote(below)
