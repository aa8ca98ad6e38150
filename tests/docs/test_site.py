"""The site that `make docs` has built: each link leads somewhere, and each kind of page fits its window."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from report.browser import SIZES, Browser, browser

import dkmeans

__all__ = ["browser"]  # the fixture

pytestmark = pytest.mark.slow
SITE = Path(dkmeans.__file__).parents[1] / "docs" / "_build" / "html"
LOOKED_AT = (
    "index",
    "start",
    "guides",
    "tutorials/palette",
    "tutorials/digits",
    "tutorials/bucket",
    "reference/commands",
    "reference/jobs",
    "reference/options",
    "reference/errors",
    "reference/generated/dkmeans.KMeans",
    "schemas",
    "architecture",
    "deploy",
    "search",
)
NETWORK = ("http:", "https:", "mailto:", "data:", "javascript:")
_WIDTHS = """() => ({
  page: document.documentElement.scrollWidth,
  window: window.innerWidth,
  broken: Array.from(document.images).filter(i => i.complete && !i.naturalWidth).map(i => i.src),
})"""


class Page(HTMLParser):
    """What a page links to, what it loads, and where one can link to in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.anchors |= {found[name] or "" for name in ("id", "name") if name in found}
        if tag == "a" and found.get("href"):
            self.links.append(found["href"] or "")
        elif tag == "link" and found.get("rel") in ("stylesheet", "preload", "icon") and found.get("href"):
            self.loads.append(found["href"] or "")
        elif found.get("src"):
            self.loads.append(found["src"] or "")


@pytest.fixture(scope="module")
def site() -> dict[Path, Page]:
    """Each page of the site by its path."""
    if not (SITE / "index.html").is_file():
        pytest.skip("docs/_build/html is not there; make docs builds it")
    return {path: Page(path) for path in SITE.rglob("*.html") if "_static" not in path.parts}


def test_every_link_leads_somewhere(site: dict[Path, Page]) -> None:
    lost = []
    for path, page in site.items():
        for link in page.links:
            if link.startswith(NETWORK):
                continue
            parts = urlsplit(link)
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            known = site[target].anchors if target in site else set()
            if not target.is_file():
                lost.append(f"{path.relative_to(SITE)}: {link}: no such file")
            elif parts.fragment and target in site and unquote(parts.fragment) not in known:
                lost.append(f"{path.relative_to(SITE)}: {link}: no such place in it")
    assert lost == []


def test_nothing_is_loaded_from_elsewhere(site: dict[Path, Page]) -> None:
    found = {(path.name, each) for path, page in site.items() for each in page.loads}
    assert [each for each in found if each[1].startswith(("http:", "https:", "//"))] == []
    for path, page in site.items():
        for each in page.loads:
            if not each.startswith("data:"):
                assert (path.parent / unquote(urlsplit(each).path)).is_file(), f"{path.name}: {each}"


def test_every_public_name_has_its_place(site: dict[Path, Page]) -> None:
    anchors = set().union(*(page.anchors for page in site.values()))
    assert [name for name in dkmeans.__all__ if f"dkmeans.{name}" not in anchors] == []


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", LOOKED_AT)
def test_pages_fit_their_window(site: dict[Path, Page], browser: Browser, name: str, size: str) -> None:
    def look(page: Any) -> dict[str, Any]:
        widths: dict[str, Any] = page.evaluate(_WIDTHS)
        return widths

    for scheme in ("light", "dark"):
        found = browser.look(SITE / f"{name}.html", size, scheme, look)
        assert found["page"] <= found["window"], f"{name}, {size}, {scheme}: {found}"
        assert found["broken"] == []
