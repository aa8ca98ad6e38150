"""The page of a study: what it shows, what lies beside it, and that a wrong study writes nothing."""

import base64
import csv
import io
import json
import os
import re
from dataclasses import replace

import numpy as np
import pytest
from report.browser import SETTLE, check_page
from report.markup import Page

from dkmeans.errors import StorageError
from dkmeans.report import figures, plots, references
from dkmeans.report.study import Pictures, Section, Shown, Study, Table, write_study
from dkmeans.storage.store import Store

SWEEP = [
    {"k": 2, "mse": 700 / 3, "psnr": 24.45, "bytes": 12345, "seconds": 75.5, "share": 0.5, "name": "<two>"},
    {"k": 50, "mse": 0, "psnr": None, "bytes": 10**7, "seconds": 0.125, "share": 0.02, "name": "fifty"},
]
FACTS = {"sweep": SWEEP, "n_images": 24, "a/b": {"~c": 1.5}}
FORMATS = {
    "name": "text",
    "k": "integer",
    "mse": "number",
    "psnr": "psnr",
    "bytes": "size",
    "seconds": "seconds",
    "share": "share",
}
TABLE = Table(
    "sweep",
    ("Palette", "Colors", "Mean squared error", "PSNR", "Codes", "Time", "Largest share", "Remark, if any"),
    tuple(
        (*(f"{{/sweep/{row}/{name}:{format}}}" for name, format in FORMATS.items()), ("", "{{a}}, b")[row])
        for row in range(len(SWEEP))
    ),
    "What {/n_images:integer} images cost.",
)
EMPTY = Table("empty", ("", "Nothing"), ())
PHOTO = figures.photo(np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8))
PATCHES = figures.grid(np.random.default_rng(1).integers(0, 256, (10, 5, 5, 1), dtype=np.uint8), 5, 4)
ELBOW = plots.lines(
    [2, 50], {"error": [700 / 3, 0]}, x_label="colors", y_label="error", marks={"here": (2, 233)}
)
STUDY = Study(
    "Few <i>colors</i> & more",
    "With {/sweep/0/k:integer} colors the error is {/sweep/0/mse:number}.",
    FACTS,
    (
        Section(
            "How many?", ("{{braces}} & <b>, {/a~1b/~0c:number}.", Shown("elbow", ELBOW, "A curve"), TABLE)
        ),
        Section(
            "Photos",
            (
                Pictures(
                    (
                        Shown("before", PHOTO, 'Noise, "loud"', "The original."),
                        Shown("after", PHOTO, "Noise", "{/sweep/1/psnr:psnr} & <b>."),
                        Shown("bars", plots.bars(["a"], [1], y_label="y"), "A bar"),
                    ),
                    columns=3,
                ),
            ),
        ),
        Section("Patches", (Shown("patches", PATCHES, "Ten patches", crisp=True), EMPTY)),
    ),
)
CURRENT = f"async () => {{ {SETTLE} return document.images[0].currentSrc; }}"
FILES = [
    *("figures/after.png", "figures/bars-dark.svg", "figures/bars.svg", "figures/before.png"),
    *("figures/elbow-dark.svg", "figures/elbow.svg", "figures/patches.png"),
    *("index.html", "numbers.json", "tables/empty.csv", "tables/sweep.csv"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "new"
    found = write_study(str(folder), STUDY)
    assert found.page == f"{folder}/index.html"
    assert found.n_pictures == 5
    assert found.page_bytes == (folder / "index.html").stat().st_size
    return folder


@pytest.fixture(scope="module")
def page(folder):
    return Page((folder / "index.html").read_text(encoding="utf-8"))


def test_in_a_browser(browser, folder):
    check_page(browser, folder / "index.html", folder / "numbers.json")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_dark_page_shows_dark_plots_and_paper_is_white(browser, folder, scheme):
    def sources(page):
        yield page.evaluate(CURRENT)
        page.emulate_media(media="print")
        yield page.evaluate(CURRENT)

    light, dark = (picture.uri for picture in ELBOW)
    on_screen, on_paper = browser.look(
        folder / "index.html", "desktop", scheme, lambda page: list(sources(page))
    )
    assert (on_screen == dark, on_screen == light) == (scheme == "dark", scheme == "light")
    assert on_paper == light


def test_the_numbers_are_the_facts(folder, page):
    assert json.loads((folder / "numbers.json").read_text(encoding="utf-8")) == FACTS
    shown = {(attrs["data-json"], attrs["value"]) for attrs in page.all("data")}
    for row, facts in enumerate(SWEEP):
        for name, value in facts.items():
            assert (f"/sweep/{row}/{name}", value if name == "name" else json.dumps(value)) in shown
    assert ("/a~1b/~0c", "1.5") in shown
    assert "With 2 colors the error is 233 ." in page.text
    assert "<two> 2 233 24.4 dB 12.1 KiB 1 min 16 s 50.0 %" in page.text


def test_everything_lies_beside_the_page_too(folder, page):
    found = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    assert sorted(found) == FILES
    inline = {attrs.get("src") or attrs.get("srcset") for attrs in page.all("img") + page.all("source")}
    for name in (name for name in FILES if name.startswith("figures/")):
        media = "image/svg+xml" if name.endswith("svg") else "image/png"
        data = base64.b64encode((folder / name).read_bytes()).decode()
        assert f"data:{media};base64,{data}" in inline


def test_a_table_is_saved_with_exact_values(folder, page):
    data = (folder / "tables" / "sweep.csv").read_bytes()
    header, *rows = csv.reader(io.StringIO(data.decode()))
    assert header == list(TABLE.header)
    for row, facts in zip(rows, SWEEP, strict=True):
        assert row[0] == facts["name"]
        assert [json.loads(cell or "null") for cell in row[1:7]] == list(facts.values())[:-1]
    assert [row[7] for row in rows] == ["", "{a}, b"]
    assert (folder / "tables" / "empty.csv").read_text() == ",Nothing\n"
    link, other = [attrs for attrs in page.all("a") if "download" in attrs]
    assert (link["download"], other["download"]) == ("sweep.csv", "empty.csv")
    assert base64.b64decode(link["href"].partition(",")[2]) == data


def test_nothing_is_loaded_from_elsewhere(page):
    for tag, attrs in page.elements:
        for name in ("src", "srcset", "href"):
            if tag == "a" and not attrs["href"].startswith(("#", "data:")):
                assert not re.match(r"[a-z]+:|/", attrs["href"])  # a file that lies beside the page
            else:
                assert attrs.get(name, "#").startswith(("#", "data:"))
    assert not {"link", "iframe"} & {tag for tag, _ in page.elements}


def test_text_is_escaped(page):
    assert "Few <i>colors</i> & more" in page.text
    assert "{braces} & <b>, 1.50" in page.text
    assert "exact & <b>." in page.text
    assert {"i", "b"}.isdisjoint(tag for tag, _ in page.elements)
    assert [attrs["alt"] for attrs in page.all("img")][1] == 'Noise, "loud"'


def test_columns_of_numbers_are_set_to_the_right_and_others_to_the_left(page):
    titles = [attrs.get("class") for attrs in page.all("th") if attrs["scope"] == "col"]
    assert titles == ["text", *[None] * 6, "text", "text"]
    assert [attrs["scope"] for attrs in page.all("th")].count("row") == 2


def test_small_pictures_are_enlarged_by_whole_numbers_without_smoothing(page):
    (crisp,) = [attrs for attrs in page.all("img") if attrs.get("class") == "crisp"]
    assert (crisp["alt"], crisp["width"], crisp["style"]) == ("Ten patches", "108", "width:540px")
    smooth = [attrs for attrs in page.all("img") if attrs["alt"].startswith("Noise")]
    assert {attrs["style"] for attrs in smooth} == {"width:112px"}  # 1.25 times


def test_contents_are_listed_from_three_sections_on(page, tmp_path):
    anchors = [attrs["href"] for attrs in page.all("a") if attrs["href"].startswith("#")]
    assert anchors == ["#section-1", "#section-2", "#section-3"]
    assert [f"#{attrs['id']}" for attrs in page.all("section")] == anchors
    write_study(str(tmp_path), replace(STUDY, sections=STUDY.sections[:2]))
    assert Page((tmp_path / "index.html").read_text(encoding="utf-8")).all("nav") == []


def test_the_page_is_written_last_and_where_objects_are(monkeypatch):
    keys = []
    put = Store.put
    monkeypatch.setattr(Store, "put", lambda store, key, data: (keys.append(key), put(store, key, data)))
    found = write_study("memory://studies/one", STUDY)
    assert found.page == "memory://studies/one/index.html"
    assert keys[-2:] == ["numbers.json", "index.html"]
    assert [stored.key for stored in Store("memory://studies/one").list()] == FILES


def with_part(part, **options):
    return replace(STUDY, sections=(Section("One", (part,)),), **options)


@pytest.mark.parametrize(
    ("study", "message"),
    [
        (with_part("{/sweep/2/k:integer}"), "/sweep/2/k: the facts have nothing there, from '2' on"),
        (with_part(Shown("a", PHOTO, "alt", "{/nothing:number}")), "/nothing"),
        (with_part(Pictures((Shown("a", PHOTO, "alt", "{/nothing:number}"),))), "/nothing"),
        (with_part(Table("a", ("x",), (("{/nothing:number}",),))), "/nothing"),
        (with_part(Table("a", ("x",), (), "{/nothing:number}")), "/nothing"),
        (replace(STUDY, lead="{/nothing:number}"), "/nothing"),
        (replace(STUDY, facts=FACTS | {"x": float("nan")}), "/x: the facts hold nan"),
        (with_part(Table("a", ("x", "y"), (("1",),))), "table a: a row of 1 below a header of 2"),
        (with_part(Shown("../a", PHOTO, "alt")), r"the name '\.\./a\.png'; expected letters"),
        (with_part(Shown("", PHOTO, "alt")), r"the name '\.png'"),
        (with_part(Table("a b", ("x",), ())), r"the name 'a b\.csv'"),
        (
            with_part(Pictures((Shown("a", PHOTO, ""), Shown("A", PHOTO, "")))),
            r"figures/A\.png is used twice",
        ),
        (
            with_part(Pictures((Shown("a", ELBOW, ""), Shown("a-dark", ELBOW, "")))),
            "a-dark.svg is used twice",
        ),
    ],
)
def test_a_wrong_study_writes_nothing(tmp_path, study, message):
    with pytest.raises(ValueError, match=message):
        write_study(str(tmp_path), study)
    assert os.listdir(tmp_path) == []


def test_a_file_in_the_place_of_the_folder(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StorageError, match="file"):
        write_study(str(tmp_path / "file"), STUDY)
    assert (tmp_path / "file").read_text() == "mine"


def test_names_of_files_may_stand_in_a_text(tmp_path):
    write_study(str(tmp_path), with_part(references.literal("a{b}.png {/x:number}")))
    assert "a{b}.png {/x:number}" in Page((tmp_path / "index.html").read_text(encoding="utf-8")).text


def test_on_paper_a_table_is_whole(browser, folder):
    """No column is cut, no number is torn, and the heads, which are buttons on a screen, are words."""

    def work(page):
        page.emulate_media(media="print")
        page.set_viewport_size({"width": 700, "height": 1000})  # A4 within its margins
        table = page.locator("table").first
        return (
            table.evaluate("table => [table.scrollWidth, table.parentElement.clientWidth]"),
            table.locator("thead th").all_inner_texts(),
            table.locator("data").evaluate_all("all => all.map(each => each.getClientRects().length)"),
        )

    (wide, room), heads, lines = browser.look(folder / "index.html", "desktop", "dark", work)
    assert wide <= room
    assert [" ".join(head.split()) for head in heads] == list(TABLE.header)
    assert set(lines) == {1}


def test_on_a_phone_a_remark_goes_below_its_number(browser, tmp_path):
    """What follows a number wraps; the number stays in one line."""
    remark = "{/sweep/1/k:integer}, and it has not converged in the iterations that it was given"
    row = ("{/sweep/1/name:text}", remark, "{/sweep/1/bytes:size}")
    write_study(str(tmp_path), with_part(Table("remarks", ("Name", "Iterations", "Bytes"), (row,))))

    def work(page):
        cell = page.locator("tbody th, tbody td").last
        return cell.evaluate("cell => [cell.getBoundingClientRect().right, innerWidth]")

    right, window = browser.look(tmp_path / "index.html", "phone", "light", work)
    assert right <= window
