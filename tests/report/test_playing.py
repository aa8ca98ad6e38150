"""Pages as somebody plays with them: a slider of sizes, zoom, downloads, light and dark, paper."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from PIL import Image
from report.browser import accessibility, check_page

from dkmeans.report import figures, plots
from dkmeans.report.study import Section, Shown, Slider, Step, Study, Table, write_study

SIZES = (2, 16, 256)
FACTS = {"by_k": [{"k": k, "psnr": psnr} for k, psnr in zip(SIZES, (20.5, 33.25, None), strict=True)]}


def photo(seed: int) -> figures.Picture:
    return figures.photo(np.random.default_rng(seed).integers(0, 256, (60, 90, 3), dtype=np.uint8))


def steps(shown: int) -> tuple[Step, ...]:
    return tuple(
        Step(
            f"{{/by_k/{place}/k:integer}} colors",
            tuple(
                Shown(f"step-{shown}-{k}-{each}", photo(k + each), f"In {k} colors, {each}")
                for each in range(shown)
            ),
            (("PSNR", f"{{/by_k/{place}/psnr:psnr}}"),),
        )
        for place, k in enumerate(SIZES)
    )


STUDY = Study(
    "To play with",
    "Three sizes.",
    FACTS,
    (
        Section(
            "Before and after", (Slider("Colors", steps(1), 1, Shown("original", photo(0), "The original")),)
        ),
        Section("Two at a time", (Slider("Sizes", steps(2), 0),)),
        Section(
            "Numbers",
            (
                Shown("curve", plots.lines(SIZES, {"e": [3, 2, 1]}, x_label="k", y_label="e"), "A curve"),
                Table(
                    "sizes",
                    ("Name", "Colors", "PSNR"),
                    tuple(
                        (f"row {place}", f"{{/by_k/{place}/k:integer}}", f"{{/by_k/{place}/psnr:psnr}}")
                        for place in (2, 0, 1)
                    ),
                ),
            ),
        ),
    ),
)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("playing")
    write_study(str(folder), STUDY)
    return folder / "index.html"


def downloaded(page, press):
    with page.expect_download() as waiting:
        press()
    return waiting.value.suggested_filename, waiting.value.path().read_bytes()


def visible(page, slider):
    return page.eval_on_selector_all(
        f".slider >> nth={slider} >> .step .about",
        "found => found.filter(each => each.offsetParent).map(each => each.innerText.replace(/\\s+/g, ' '))",
    )


def test_it_fits_and_is_accessible(browser, page):
    check_page(browser, page, page.with_name("numbers.json"))


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_a_slider_shows_one_size_and_what_is_told_of_it(browser, page, size):
    def work(page):
        range_ = page.locator(".slider input[type=range]").first
        found = [(visible(page, 0), range_.get_attribute("aria-valuetext"))]
        range_.focus()
        for key in ("ArrowRight", "Home"):
            page.keyboard.press(key)
            found.append((visible(page, 0), range_.get_attribute("aria-valuetext")))
        return found, visible(page, 1)

    found, other = browser.look(page, size, "light", work)
    assert [told for shown, told in found] == [
        "16 colors PSNR 33.2 dB",
        "256 colors PSNR exact",
        "2 colors PSNR 20.5 dB",
    ]
    assert [shown for shown, _ in found] == [[told] for _, told in found]
    assert other == ["2 colors PSNR 20.5 dB"]


def test_a_line_is_dragged_between_the_original_and_the_size_that_is_chosen(browser, page):
    def work(page):
        frame = page.locator(".compared .front .frame").first
        frame.scroll_into_view_if_needed()
        box = frame.bounding_box()
        page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 9)
        page.mouse.down()
        page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 9, steps=3)
        page.mouse.up()
        behind = page.locator(".compared .step.on img").first.bounding_box()
        clip = frame.locator("img").evaluate("image => getComputedStyle(image).clipPath")
        return box, behind, frame.locator("input").input_value(), clip

    box, behind, value, clip = browser.look(page, "desktop", "light", work)
    assert float(value) == pytest.approx(20, abs=1)
    right = float(clip.removeprefix("inset(0px ").partition("%")[0])
    assert float(value) + right == pytest.approx(100)
    for side in ("x", "y", "width", "height"):  # one lies over the other
        assert behind[side] == pytest.approx(box[side], abs=1)


def test_a_picture_is_zoomed_by_keys_and_closed(browser, page):
    def work(page):
        page.locator("button:has-text('Zoom')").last.focus()
        page.keyboard.press("Enter")
        dialog = page.locator("dialog")
        found = [dialog.is_visible(), page.locator("#zoom-title").inner_text(), accessibility(page)]
        before = dialog.locator("img").bounding_box()["width"]
        page.keyboard.press("+")
        found.append(dialog.locator("img").bounding_box()["width"] / before)
        page.keyboard.press("Escape")
        return [*found, dialog.is_visible()]

    shown, title, problems, factor, still = browser.look(page, "desktop", "light", work)
    assert (shown, title, problems, still) == (True, "A curve", [], False)
    assert factor == pytest.approx(2, rel=0.01)


def test_tables_and_figures_are_saved(browser, page):
    numbers = json.loads(page.with_name("numbers.json").read_text(encoding="utf-8"))["by_k"]

    def work(page):
        files = dict([downloaded(page, page.locator("a.save").first.click)])
        for what in ("SVG", "PNG"):
            button = page.locator(f"figure:has(img[alt='A curve']) button:has-text('{what}')")
            name, data = downloaded(page, button.first.click)
            files[name] = data
        return files

    files = browser.look(page, "desktop", "light", work)
    assert set(files) == {"sizes.csv", "curve.svg", "curve.png"}
    rows = list(csv.reader(io.StringIO(files["sizes.csv"].decode())))
    assert rows[0] == ["Name", "Colors", "PSNR"]
    for row, place in zip(rows[1:], (2, 0, 1), strict=True):
        assert row[0] == f"row {place}"
        assert [json.loads(cell or "null") for cell in row[1:]] == list(numbers[place].values())
    assert files["sizes.csv"] == page.with_name("tables").joinpath("sizes.csv").read_bytes()
    assert files["curve.svg"] == page.with_name("figures").joinpath("curve.svg").read_bytes()
    with Image.open(io.BytesIO(files["curve.png"])) as image:
        assert min(image.size) > 500


def test_a_table_sorts_by_numbers_and_what_lost_nothing_is_the_best(browser, page):
    def names(page):
        return page.eval_on_selector_all(
            "table.sortable tbody tr", "rows => rows.map(row => row.cells[0].innerText)"
        )

    def work(page):
        found = [names(page)]
        for head in ("PSNR", "PSNR", "Colors"):
            page.click(f"thead button:has-text('{head}')")
            found.append(names(page))
        return found, page.get_attribute("th:has-text('Colors')", "aria-sort")

    found, said = browser.look(page, "phone", "light", work)
    rising = ["row 0", "row 1", "row 2"]
    assert found == [["row 2", "row 0", "row 1"], rising, rising[::-1], rising]
    assert said == "ascending"


def test_a_button_turns_the_page_dark(browser, page):
    def work(page):
        color = "getComputedStyle(document.body).backgroundColor"
        found = [page.evaluate(color)]
        for _ in range(2):
            page.click("button.theme")
            found.append(
                (
                    page.evaluate(color),
                    page.get_attribute("button.theme", "aria-pressed"),
                    accessibility(page),
                )
            )
        return found

    light, dark, again = browser.look(page, "desktop", "light", work)
    assert dark[0] != light
    assert dark[1:] == ("true", [])
    assert again == (light, "false", [])


def test_paper_has_every_size_and_nothing_to_press(browser, page):
    def work(page):
        page.emulate_media(media="print")
        shown = page.eval_on_selector_all(
            "button, input", "all => all.filter(each => each.offsetParent).length"
        )
        wide = page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        return shown, visible(page, 0), wide, page.evaluate("getComputedStyle(document.body).color")

    shown, sizes, fits, ink = browser.look(page, "desktop", "dark", work)
    assert (shown, fits) == (0, True)
    assert sizes == ["2 colors PSNR 20.5 dB", "16 colors PSNR 33.2 dB", "256 colors PSNR exact"]
    assert max(int(part) for part in ink[4:-1].split(",")[:3]) < 100  # dark ink


def test_without_a_script_every_size_lies_open(browser, page, tmp_path):
    html = page.read_text(encoding="utf-8")
    assert html.count("<script>") == 1
    (tmp_path / "index.html").write_text(html.partition("<script>")[0])
    shown = browser.look(tmp_path / "index.html", "desktop", "light", lambda page: visible(page, 0))
    assert len(shown) == len(SIZES)
