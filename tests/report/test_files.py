"""The page of a folder that quantize wrote: which images it shows, the slider, and the table of all files."""

from __future__ import annotations

import json
import math
import re
import shutil

import numpy as np
import pytest
from PIL import Image
from report.browser import check_page
from report.markup import Page

from dkmeans.config.cluster import ClusterConfig
from dkmeans.config.stages import QuantizeConfig, ReportConfig
from dkmeans.report.files import file_rows, file_table, shown_files
from dkmeans.report.links import relative
from dkmeans.report.page import write_report
from dkmeans.report.subjects import open_subject
from dkmeans.stages.quantize import quantize

SYNC = ClusterConfig(scheduler="sync")
N_SMALL = 130
"""Images besides the large ones: more rows than one page of the table has."""


def noise(height, width, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of many images, what quantize makes of it, and the page beside both."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "source" / "sub").mkdir(parents=True)
    clear = noise(120, 130, 4, seed=1)
    clear[:60, :, 3] = 0
    Image.fromarray(clear).save(folder / "source" / "a clear #1.png")
    Image.fromarray(noise(100, 150, 4, seed=2)).save(folder / "source" / "sub" / "<b>&.png")
    for number in range(N_SMALL):
        pixels = noise(6, 5, 4, seed=number)
        pixels[:, : 1 + number % 4] = 7  # so that they lose more or less
        Image.fromarray(pixels).save(folder / "source" / f"s{number}.png")
    options = {"n_clusters": 8, "color": "rgba", "report": str(folder / "page.html")}
    source, destination = str(folder / "source"), str(folder / "out")
    report = quantize(QuantizeConfig(source=source, destination=destination, **options), SYNC)
    assert report.page == str(folder / "page.html")
    return folder


@pytest.fixture(scope="module")
def facts(made):
    return json.loads((made / "page.json").read_text(encoding="utf-8"))[0]


def test_rows_are_the_records(made, facts):
    rows = facts["files"]
    assert len(rows) == N_SMALL + 2
    for row in rows:
        source, file = made / "source" / row["name"], made / "out" / row["name"]
        sizes = (source.stat().st_size, file.stat().st_size)
        assert (row["source_bytes"], row["stored_bytes"]) == sizes
        assert row["change"] == sizes[1] / sizes[0] - 1
        with Image.open(source) as before, Image.open(file) as after:
            assert (row["width"], row["height"]) == before.size
            pixels = np.asarray(after.convert("RGBA")).reshape(-1, 4)
        assert row["n_colors"] == len(np.unique(pixels, axis=0))


def test_what_is_shown_lost_the_most_and_gained_the_most_and_the_least(facts):
    rows = facts["files"]
    shown = {image["why"]: rows[image["position"]] for image in facts["images"]}
    assert len({image["position"] for image in facts["images"]}) == len(shown) == 4
    (first,) = [row for why, row in shown.items() if why.startswith("lowest PSNR") and "number" not in why]
    (most,) = [row for why, row in shown.items() if why.endswith("largest gain")]
    assert first["psnr"] == min(row["psnr"] for row in rows if "psnr" in row)
    assert most["change"] == min(row["change"] for row in rows)
    assert shown["smallest gain"]["change"] == max(row["change"] for row in rows)


def row(psnr, change):
    return {"psnr": psnr, "change": change} if psnr else {"change": change}


def test_no_image_is_shown_twice():
    rows = (row(30.0, -0.9), row(20.0, -0.5), row(None, 0.1), row(25.0, 0.0))
    assert shown_files(rows, 3) == [(1, "lowest PSNR"), (0, "largest gain"), (2, "smallest gain")]
    assert shown_files(rows, 2) == [(1, "lowest PSNR"), (0, "largest gain")]
    assert shown_files(rows, 4) == [(place, "") for place in range(4)]
    same = (row(20.0, -0.9), row(30.0, -0.5), row(40.0, -0.3), row(None, -0.1))
    first = (0, "lowest PSNR, largest gain")
    assert shown_files(same, 2) == [first, (3, "smallest gain")]
    assert shown_files(same, 3) == [first, (3, "smallest gain"), (1, "lowest PSNR, number 2")]
    exact = ({}, {}, {})
    assert shown_files(exact, 2) == [(0, ""), (1, "")]


def test_columns_that_no_image_has_are_left_out(made):
    subject = open_subject(str(made / "out"))
    known = file_rows(subject)
    assert file_table(subject, known, made / "page.html").titles == (
        *("Name", "Pixels", "Before", "After", "Change", "Colors before", "Colors", "PSNR", "SSIM"),
    )
    more = ({**known[0], "copied": True}, *known[1:])
    table = file_table(subject, more, made / "page.html")
    assert table.titles[-2:] == ("SSIM", "Copied")
    assert (table.rows[0][-1].text, table.rows[1][-1].text) == ("yes", "")
    exact = tuple({"name": "a", "width": 1, "height": 1, "exact": True} for _ in known)
    table = file_table(subject, exact, made / "page.html")
    assert table.titles == ("Name", "Pixels", "PSNR")
    assert (table.rows[0][2].text, table.rows[0][2].value) == ("exact", math.inf)


def test_links_lead_from_the_page_to_the_files(made):
    html = (made / "page.html").read_text(encoding="utf-8")
    links = [attrs["href"] for attrs in Page(html).all("a") if not attrs["href"].startswith("#")]
    assert {"out/a%20clear%20%231.png", "out/sub/%3Cb%3E%26.png", "source/a%20clear%20%231.png"} <= set(links)
    assert len([each for each in links if each.startswith("out/")]) == N_SMALL + 2 + 4
    assert "<b>&." not in html


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("/pages/out/a.png", "out/a.png"),
        ("/pages/../out/a.png", "../out/a.png"),
        ("/pages/javascript:alert(1).png", "javascript%3Aalert%281%29.png"),
        ("/pages/\udcff.png", "%FF.png"),
        ("s3://bucket/a.png", None),
    ],
)
def test_links_are_relative(url, expected):
    assert relative(url, "/pages/page.html") == expected


def test_nothing_is_loaded_and_only_our_script_runs(made):
    html = (made / "page.html").read_text(encoding="utf-8")
    assert re.search(r"default-src 'none'; img-src data:; .*script-src 'sha256-[\w+/]+='", html)
    assert html.count("<script") == 1
    assert not any("src" in attrs for attrs in Page(html).all("script"))


@pytest.mark.slow
def test_the_page_is_whole_and_accessible(browser, made):
    check_page(browser, made / "page.html")


def at(page):
    """Where the line of the first slider is, in percent, as the eye and as a screen reader has it."""
    return page.evaluate(
        """() => {
          const frame = document.querySelector(".front .frame"), box = frame.getBoundingClientRect();
          const line = frame.querySelector(".line").getBoundingClientRect();
          const clip = getComputedStyle(frame.querySelector("img")).clipPath;
          const input = frame.querySelector("input");
          return [100 * (line.left - box.left) / box.width, clip, input.ariaValueText];
        }"""
    )


def test_the_line_follows_mouse_finger_and_keys(browser, made):
    def work(page):
        frame = page.locator(".front .frame").first
        frame.scroll_into_view_if_needed()
        box = frame.bounding_box()
        found = [at(page)]
        x, y = box["x"], box["y"] + box["height"] / 2
        page.mouse.move(x + 0.5 * box["width"], y)
        page.mouse.down()
        page.mouse.move(x + 0.25 * box["width"], y, steps=3)
        page.mouse.up()
        found.append(at(page))
        page.mouse.move(x + 0.9 * box["width"], y)  # not held any more
        found.append(at(page))
        page.keyboard.press("ArrowRight")  # the click has given it the focus
        page.keyboard.press("ArrowRight")
        found.append(at(page))
        page.keyboard.press("Home")
        found.append(at(page))
        frame.dispatch_event("pointerdown", {"pointerType": "touch", "button": 0, "pointerId": 1})
        found.append(at(page))  # a finger that may be about to scroll
        finger = {"pointerType": "touch", "pointerId": 1, "clientX": x + 0.75 * box["width"]}
        frame.dispatch_event("pointermove", finger)
        frame.dispatch_event("pointerup", finger)
        found.append(at(page))
        return found

    start, dragged, left_alone, by_keys, home, touched, moved = browser.look(
        made / "page.html", "desktop", "light", work
    )
    assert start[0] == pytest.approx(50, abs=0.2)
    assert start[1:] == ["inset(0px 50% 0px 0px)", "50 % original"]
    assert dragged[0] == left_alone[0] == pytest.approx(25, abs=0.5)
    assert dragged[2] == "25 % original"
    assert by_keys[0] == pytest.approx(dragged[0] + 1, abs=0.2)
    assert home[0] == pytest.approx(0, abs=0.2)
    assert home[2] == "0 % original"
    assert touched == home
    assert moved[0] == pytest.approx(75, abs=0.5)


def names(page):
    return page.evaluate("Array.from(document.querySelectorAll('.files tbody th'), th => th.textContent)")


def test_the_table_sorts_turns_and_finds(browser, made, facts):
    def work(page):
        found = {"first": names(page), "count": page.inner_text(".pager [role=status]")}
        page.click("text=Next")
        found["second"], found["next"] = names(page), page.is_enabled("text=Next")
        page.click(".files thead button:has-text('PSNR')")
        found["up"] = names(page)
        found["said"] = page.get_attribute(".files th:has-text('PSNR')", "aria-sort")
        page.focus(".files thead button:has-text('PSNR')")
        page.keyboard.press("Enter")
        found["down"] = names(page)
        page.click(".files thead button:has-text('Name')")
        found["named"] = names(page)
        page.fill(".pager input", "S12")
        found["searched"] = names(page)
        return found

    found = browser.look(made / "page.html", "phone", "light", work)
    rows = facts["files"]
    in_order = [each["name"] for each in rows]
    assert (found["first"], found["second"]) == (in_order[:100], in_order[100:])
    assert (found["count"], found["next"]) == ("1 to 100 of 132", False)
    assert found["said"] == "ascending"
    psnr = {each["name"]: each.get("psnr", math.inf) for each in rows}
    assert [psnr[name] for name in found["up"]] == sorted(psnr.values())[:100]
    assert [psnr[name] for name in found["down"]] == sorted(psnr.values(), reverse=True)[:100]
    assert found["named"][:4] == ["a clear #1.png", "s0.png", "s1.png", "s2.png"]
    assert found["searched"] == ["s12.png", *(f"s{number}.png" for number in range(120, 130))]


@pytest.mark.slow
def test_without_a_script_both_lie_open(made, tmp_path, browser):
    html = (made / "page.html").read_text(encoding="utf-8")
    (tmp_path / "page.html").write_text(re.sub(r"<script>.*</script>", "", html, flags=re.DOTALL))

    def work(page):
        boxes = [page.locator(".duo .frame").nth(place).bounding_box() for place in range(2)]
        return boxes, len(names(page))

    (before, after), n_rows = browser.look(tmp_path / "page.html", "desktop", "light", work)
    assert before["x"] + before["width"] <= after["x"]
    assert before["y"] == after["y"]
    assert n_rows == N_SMALL + 2
    check_page(browser, tmp_path / "page.html")


def test_clear_pixels_are_seen_as_such(browser, made, facts):
    """Over a checkerboard whose two colors differ, on a light page and a dark one."""
    assert facts["channels"] == 4
    script = "() => getComputedStyle(document.querySelector('.frame img')).backgroundImage"
    for scheme in ("light", "dark"):
        found = browser.look(made / "page.html", "desktop", scheme, lambda page: page.evaluate(script))
        colors = re.findall(r"rgb\([\d, ]+\)", found)
        assert found.startswith("repeating-conic-gradient")
        assert len(set(colors)) == 2


@pytest.fixture
def changed(made, tmp_path):
    """The same with one original gone, one of another size, and one of as many bytes that is no image."""
    shutil.copytree(made / "source", tmp_path / "source")
    source, out = str(tmp_path / "source"), str(tmp_path / "out")
    for path in list((tmp_path / "source").glob("s*.png"))[3:]:
        path.unlink()
    quantize(QuantizeConfig(source=source, destination=out, n_clusters=8, color="rgba"), SYNC)
    gone, other, damaged = sorted(path.name for path in (tmp_path / "source").glob("s*.png"))
    (tmp_path / "source" / gone).unlink()
    Image.fromarray(noise(9, 9, 4)).save(tmp_path / "source" / other)
    size = (tmp_path / "source" / damaged).stat().st_size
    (tmp_path / "source" / damaged).write_bytes(bytes(size))
    return tmp_path, gone, [other, damaged]


@pytest.mark.slow
def test_an_original_that_is_gone_or_changed_is_told_of_that_image_alone(changed, browser):
    folder, gone, others = changed
    write_report(ReportConfig(page=str(folder / "page.html"), results=[str(folder / "out")], n_images=9))
    (facts,) = json.loads((folder / "page.json").read_text(encoding="utf-8"))
    missing = {image["name"]: image["missing"] for image in facts["images"]}
    assert missing.pop(gone) == f"{gone} is gone from {folder / 'source'}"
    for name in others:
        assert missing.pop(name) == f"{name} has changed since quantize has read it"
    assert missing == {"a clear #1.png": None, "sub/<b>&.png": None}
    text = Page((folder / "page.html").read_text(encoding="utf-8")).text
    assert f"No original to compare with: {gone} is gone from" in text
    check_page(browser, folder / "page.html")


def test_a_source_that_is_gone_leaves_results_and_numbers(changed, browser):
    folder, *_ = changed
    shutil.rmtree(folder / "source")
    write_report(ReportConfig(page=str(folder / "page.html"), results=[str(folder / "out")]))
    (facts,) = json.loads((folder / "page.json").read_text(encoding="utf-8"))
    assert all("missing, there is no such file" in image["missing"] for image in facts["images"])
    assert len(facts["files"]) == 5
    html = (folder / "page.html").read_text(encoding="utf-8")
    assert "source/" not in "".join(attrs["href"] for attrs in Page(html).all("a"))
    check_page(browser, folder / "page.html")
