"""References in texts: to the right value, in the right words, and never to nothing."""

import json
import math
import re

import numpy as np
import pytest
from report.markup import Page

from dkmeans.events import words
from dkmeans.report import references

FACTS = {
    "mse": 0.08766,
    "n": 1234567,
    "none": None,
    "flag": True,
    "name": "<b> & {x}",
    "a/b": {"~": [10, [20.5, "last"]]},
    "": 7,
    "01": "text",
}


@pytest.mark.parametrize(
    ("reference", "shown"),
    [
        ("{/mse:number}", "0.0877"),
        ("{/n:number}", "1.23 × 10⁶"),
        ("{/n:integer}", "1,234,567"),
        ("{/n:size}", "1.18 MiB"),
        ("{/mse:share}", "8.77 %"),
        ("{/mse:psnr}", "0.0877 dB"),
        ("{/none:psnr}", "exact"),
        ("{/n:seconds}", "342 h 56 min"),
        ("{/name:text}", "<b> & {x}"),
        ("{/a~1b/~0/1/0:number}", "20.5"),
        ("{/a~1b/~0/1/1:text}", "last"),
        ("{/:integer}", "7"),
        ("{/01:text}", "text"),
        ("no number at all", "no number at all"),
        ("", ""),
        ("{{{/n:integer}}} {{/n:integer}}", "{1,234,567} {/n:integer}"),
        ("{/n:integer} of {/n:integer}: 5 %", "1,234,567 of 1,234,567: 5 %"),
    ],
)
def test_a_text_for_people(reference, shown):
    assert references.plain(FACTS, reference) == shown


def test_html_holds_the_exact_value_and_where_it_stands():
    found = references.html(FACTS, "<i> {/mse:number} & {/none:psnr}, {/name:text}")
    page = Page(str(found))
    assert page.text == "<i> 0.0877 & exact , <b> & {x}"
    assert [tag for tag, _ in page.elements] == ["data"] * 3
    assert page.all("data") == [
        {"value": "0.08766", "data-json": "/mse", "title": "0.08766"},
        {"value": "null", "data-json": "/none", "title": "null"},
        {"value": "<b> & {x}", "data-json": "/name", "title": "<b> & {x}"},
    ]


def test_raw_values_are_exact():
    assert references.raw({"x": [0.1 + 0.2, 10**20, None, "null"]}, "{/x/0:number}") == "0.30000000000000004"
    assert references.raw({"x": 10**20}, "{/x:number} × {/x:integer}") == f"{10**20} × {10**20}"
    assert references.raw({"x": [None, "null"]}, "{/x/0:psnr}{/x/1:text}") == "null"
    assert references.raw(FACTS, "{{no}} number") == "{no} number"


@pytest.mark.parametrize("text", ["{", "}", "a } b", "{/a:number", "{{{", "plain"])
def test_literal_text_stays_as_it_is(text):
    assert references.plain({}, references.literal(text)) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{/nothing:number}", "/nothing: the facts have nothing there, from 'nothing' on"),
        ("{/a~1b/~0/2:number}", "/a~1b/~0/2: the facts have nothing there, from '2' on"),
        ("{/a~1b/~0/-1:number}", "from '-1' on"),
        ("{/a~1b/~0/00:number}", "from '00' on"),
        ("{/n/0:number}", "from '0' on"),
        ("{/name/0:text}", "from '0' on"),
        ("{/mse:numbr}", "unknown format in {/mse:numbr}; expected one of number, integer, size, share"),
        ("{/mse}", "a single '{'"),
        ("{mse:number}", "a single '{'"),
        ("50 } 3", "a single '}'"),
        ("{/mse:integer}", "{/mse:integer}: found 0.08766, which it cannot write"),
        ("{/mse:text}", "found 0.08766"),
        ("{/name:number}", "found '<b> & {x}'"),
        ("{/none:number}", "found None"),
        ("{/flag:integer}", "found True"),
        ("{/flag:number}", "found True"),
    ],
)
@pytest.mark.parametrize("function", [references.html, references.plain])
def test_a_wrong_reference_is_an_error(text, message, function):
    with pytest.raises(ValueError, match=re.escape(message)):
        function(FACTS, text)


def test_json_values_pass():
    facts = {"a": [1, 2.5, None, True, "x", {"b": ()}], "c": np.float64(0.1)}
    references.check_json(facts)
    assert json.loads(json.dumps(facts))["c"] == 0.1


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"a": [1.0, math.nan]}, "/a/1: the facts hold nan"),
        ({"a": {"b": math.inf}}, "/a/b: the facts hold inf"),
        ({"a": np.float64("-inf")}, "/a: the facts hold -inf"),
        ({"a": np.int64(3)}, "/a: the facts hold .* expected a JSON value"),
        ({"a": np.zeros(3)}, "expected a JSON value"),
        ({"a": {3: 4}}, r"/a: the facts have a key that is no string among \[3\]"),
        ({1: 2}, "/: the facts have a key"),
    ],
)
def test_what_json_does_not_know_is_an_error(facts, message):
    with pytest.raises(ValueError, match=message):
        references.check_json(facts)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 s"),
        (0.01234, "0.0123 s"),
        (12.34, "12.3 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (250, "4 min 10 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 0 min"),
        (3929, "1 h 5 min"),
        (3959, "1 h 6 min"),
        (90_000, "25 h 0 min"),
    ],
)
def test_seconds_for_people(value, text):
    assert words.seconds(value) == text
