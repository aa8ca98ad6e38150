"""Pages as a browser shows them: `check_page` for what must hold on every page, on a desktop and on a phone.

Another folder's test takes the fixture by ``from report.browser import browser, check_page``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest

__all__ = ["SETTLE", "SIZES", "Browser", "browser", "check_page", "find_chromium"]

SIZES = {"desktop": (1280, 900), "phone": (390, 844)}  # pixels
SCHEMES = ("light", "dark")
_QUIET = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
# What a changed color scheme changes is there two frames later.
SETTLE = """
  await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
  for (const image of document.images) await image.decode().catch(() => null);
"""
_PICTURES = (
    f"async () => {{ {SETTLE}"
    """
  return Array.from(document.images, image => ({
    alt: image.alt, complete: image.complete, width: image.naturalWidth, height: image.naturalHeight,
    source: image.currentSrc,
  }));
}"""
)
_NUMBERS = "() => Array.from(document.querySelectorAll('data[data-json]'), d => [d.dataset.json, d.value])"
_OVERFLOW = "() => [document.documentElement.scrollWidth, window.innerWidth]"

_T = TypeVar("_T")


def find_chromium() -> str | None:
    """The path of a Chromium that is installed, or None."""
    found = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
    return next((path for path in found if path), None)


class Browser:
    """A headless Chromium in a thread of its own.

    Playwright keeps an event loop running in the thread that it is started in, where nothing else, such as
    a Dask client, could then start one.
    """

    def __init__(self, executable: str) -> None:
        self._pool = ThreadPoolExecutor(1, "browser")
        self._executable = executable
        self._pool.submit(self._start).result()

    def _start(self) -> None:
        from playwright.sync_api import sync_playwright

        self._playwright = sync_playwright().start()
        try:
            # Each start has a profile of its own, in a temporary folder.
            self._chromium = self._playwright.chromium.launch(
                executable_path=self._executable, args=_QUIET, timeout=60_000
            )
        except BaseException:
            self._playwright.stop()
            raise

    def _stop(self) -> None:
        self._chromium.close()
        self._playwright.stop()

    def close(self) -> None:
        self._pool.submit(self._stop).result()
        self._pool.shutdown()

    def look(self, path: Path, size: str, scheme: str, do: Callable[[Any], _T]) -> _T:
        """Open a file, see that it does so without a complaint, and return `do` of Playwright's page.

        Parameters
        ----------
        path : Path
        size : str
            A key of `SIZES`.
        scheme : str
            "light" or "dark".
        do : callable
        """

        def work() -> _T:
            width, height = SIZES[size]
            context = self._chromium.new_context(
                viewport={"width": width, "height": height}, color_scheme=scheme, offline=True
            )
            try:
                page = context.new_page()
                complaints = _listen(page)
                page.goto(path.resolve().as_uri(), wait_until="load")
                assert not complaints, f"{path.name}: {complaints}"
                done = do(page)
                assert not complaints, f"{path.name}: {complaints}"
                return done
            finally:
                context.close()

        return self._pool.submit(work).result()


def _listen(page: Any) -> list[str]:
    """What goes wrong on a page, and every request that leaves this machine."""
    complaints: list[str] = []

    def on_request(request: Any) -> None:
        if not request.url.startswith(("file:", "data:")):
            complaints.append(f"request: {request.url[:200]}")

    def on_console(message: Any) -> None:
        if message.type in ("error", "warning"):
            complaints.append(f"console: {message.text}")

    page.on("request", on_request)
    page.on("requestfailed", lambda request: complaints.append(f"failed: {request.url[:200]}"))
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    page.on("console", on_console)
    return complaints


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A browser for all tests; they are skipped where there is none."""
    pytest.importorskip("playwright", reason="playwright is not installed: pip install 'dkmeans[dev]'")
    pytest.importorskip("axe_playwright_python", reason="axe is not installed: pip install 'dkmeans[dev]'")
    executable = find_chromium()
    if executable is None:
        pytest.skip("no Chromium: apt-get install chromium")
    found = Browser(executable)
    yield found
    found.close()


def check_page(browser: Browser, path: Path, facts: Path | None = None) -> None:
    """See that a page is whole, fits its window, is accessible, and says the numbers of its JSON file.

    Parameters
    ----------
    browser : Browser
    path : Path
        The page.
    facts : Path, optional
        Its numbers; given, there has to be at least one on the page.
    """
    numbers = None if facts is None else json.loads(facts.read_text(encoding="utf-8"))

    def check(page: Any) -> None:
        for size, (width, height) in SIZES.items():
            page.set_viewport_size({"width": width, "height": height})
            for scheme in SCHEMES:
                page.emulate_media(color_scheme=scheme)
                _check(page, f"{path.name}, {size}, {scheme}", numbers)

    browser.look(path, "desktop", "light", check)


def _check(page: Any, where: str, numbers: Any) -> None:
    pictures = page.evaluate(_PICTURES)
    for picture in pictures:
        assert picture["complete"], f"{where}: {picture['alt']!r} is not loaded"
        assert picture["width"] > 0, f"{where}: {picture['alt']!r} cannot be shown"
        assert picture["height"] > 0, f"{where}: {picture['alt']!r} cannot be shown"
        assert picture["source"].startswith("data:image/"), f"{where}: {picture['alt']!r} is not in the page"
        assert len(picture["source"]) > 100, f"{where}: {picture['alt']!r} is as good as empty"
    wide, window = page.evaluate(_OVERFLOW)
    assert wide <= window, f"{where}: {wide} pixels wide in a window of {window}"
    if numbers is not None:
        _check_numbers(page.evaluate(_NUMBERS), numbers, where)
    problems = accessibility(page)
    assert problems == [], f"{where}: {problems}"


def _check_numbers(found: list[tuple[str, str]], numbers: Any, where: str) -> None:
    assert found, f"{where}: no number on the page"
    for pointer, value in found:
        expected = numbers
        for key in pointer.removeprefix("/").split("/"):
            key = key.replace("~1", "/").replace("~0", "~")
            expected = expected[int(key)] if isinstance(expected, list) else expected[key]
        actual = value if isinstance(expected, str) else json.loads(value)
        assert (actual, type(actual)) == (expected, type(expected)), f"{where}: {pointer}"


def accessibility(page: Any) -> list[str]:
    """What axe finds wrong, each with the first elements that it is about."""
    from axe_playwright_python.sync_playwright import Axe

    return [
        f"{found['id']}: {found['help']}: " + "; ".join(node["html"][:150] for node in found["nodes"][:3])
        for found in Axe().run(page).response["violations"]
    ]
