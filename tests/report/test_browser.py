"""What `check_page` has to find: one page with nothing wrong, and one for each thing that may be."""

import json

import pytest
from report.browser import check_page

PIXEL = "data:image/svg+xml," + "<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'></svg>".replace(
    "#", "%23"
)
GOOD = """<!DOCTYPE html><html lang="en"><head><meta name="viewport" content="width=device-width">
<title>A page</title></head><body style="background:#fff;color:#222"><main><h1>A page</h1>
<p>The error is <data value="2.5" data-json="/sweep/0/m~1s">2.5</data>,
of <data value="two" data-json="/name">two</data>.</p>
<img src="{picture}" width="99" height="99" alt="A square"></main></body></html>"""
GOOD = GOOD.replace("{picture}", PIXEL + "<!-- " + 99 * "long " + "-->")
NUMBERS = {"sweep": [{"m/s": 2.5}], "name": "two"}
WRONG = {
    "is as good as empty": ("long ", ""),
    "cannot be shown": ("</svg>", "<svg>"),
    "is not in the page": (PIXEL, "picture.svg?"),
    "pixels wide in a window of 1280": ("<h1>", "<h1 style='width:1300px'>"),
    "pixels wide in a window of 390": ("<h1>", "<h1 style='width:500px'>"),
    "/sweep/0/m~1s": ('value="2.5"', 'value="2.50001"'),
    "/name": ('value="two"', 'value="three"'),
    "color-contrast": ("color:#222", "color:#aaa"),
    "html-has-lang": (' lang="en"', ""),
    "console: oh no": ("</main>", "</main><script>console.error('oh no')</script>"),
    "error: oh no": ("</main>", "</main><script>throw 'oh no'</script>"),
    "request: https://example.invalid/a.css": (
        "</head>",
        "<link rel='stylesheet' href='https://example.invalid/a.css'></head>",
    ),
}


@pytest.fixture
def write(tmp_path):
    def write(html):
        (tmp_path / "numbers.json").write_text(json.dumps(NUMBERS))
        (tmp_path / "picture.svg").write_text(PIXEL.partition(",")[2])
        (tmp_path / "page.html").write_text(html)
        return tmp_path / "page.html", tmp_path / "numbers.json"

    return write


def test_a_good_page(browser, write):
    check_page(browser, *write(GOOD))


@pytest.mark.parametrize("message", WRONG)
def test_a_page_with_one_thing_wrong(browser, write, message):
    old, new = WRONG[message]
    assert old in GOOD
    with pytest.raises(AssertionError) as caught:
        check_page(browser, *write(GOOD.replace(old, new)))
    assert message in str(caught.value)


def test_a_page_without_any_number(browser, write):
    with pytest.raises(AssertionError, match="no number on the page"):
        check_page(browser, *write(GOOD.replace("data-json", "data-no")))
