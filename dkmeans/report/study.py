"""A study as data: what was asked, sections of text, pictures and tables, and how it becomes a page.

Every number on the page comes from the facts: a `Text` holds references to them, such as
``"{/sweep/3/mse:number}"``, a JSON pointer and a format. See `dkmeans.report.references`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from dkmeans.report import layout, links, references, template
from dkmeans.report.figures import Picture
from dkmeans.storage.store import Store, open_store

__all__ = [
    "Pictures",
    "Section",
    "Shown",
    "Slider",
    "Step",
    "Study",
    "StudyReport",
    "Table",
    "Text",
    "write_study",
]

Text = str
"""Plain text with references to numbers; `references.literal` doubles the braces of any other text."""

_PAGE, _NUMBERS = "index.html", "numbers.json"
_CONTENTS_FROM = 3  # sections


@dataclass(frozen=True)
class Shown:
    """One picture, which is also written as ``figures/<name>.png`` or ``.svg``.

    Attributes
    ----------
    name : str
        Letters, digits, ``-``, ``_`` and ``.`` only.
    picture : Picture or (Picture, Picture)
        Of two the second is for a dark page, and written as ``figures/<name>-dark``.
    alt : str
        What is to be seen, in plain text, for those who do not see it.
    caption : Text
    crisp : bool
        Enlarged without smoothing, by a whole number, as far as there is room.
    file : str or None
        URL of the file that it shows; linked where the page can reach it.
    """

    name: str
    picture: Picture | tuple[Picture, Picture]
    alt: str
    caption: Text = ""
    crisp: bool = False
    file: str | None = None

    @property
    def pair(self) -> tuple[Picture, ...]:
        """One picture, or that for a light and that for a dark page."""
        return self.picture if isinstance(self.picture, tuple) else (self.picture,)


@dataclass(frozen=True)
class Pictures:
    """Pictures beside each other, at most `columns` of them where the page is wide enough."""

    shown: tuple[Shown, ...]
    columns: int = 2


@dataclass(frozen=True)
class Step:
    """One position of a slider.

    Attributes
    ----------
    label : Text
        Such as the number of clusters.
    shown : tuple of Shown
        Beside each other; one alone where the slider has an original.
    facts : tuple of (str, Text)
        What is told of it: a name in plain text, and a value.
    """

    label: Text
    shown: tuple[Shown, ...]
    facts: tuple[tuple[str, Text], ...]


@dataclass(frozen=True)
class Slider:
    """Steps of which one is shown at a time; on paper and without a script all of them are.

    Attributes
    ----------
    label : str
        What is chosen, in plain text.
    steps : tuple of Step
    start : int
        Place of the step that is shown first.
    original : Shown or None
        As large as each picture of the steps: it lies over the one that is chosen, up to a line to drag.
    columns : int
        Pictures beside each other where all are shown.
    """

    label: str
    steps: tuple[Step, ...]
    start: int = 0
    original: Shown | None = None
    columns: int = 3


@dataclass(frozen=True)
class Table:
    """A table, which is also written as ``tables/<name>.csv``, with exact values.

    Attributes
    ----------
    name : str
        Letters, digits, ``-``, ``_`` and ``.`` only.
    header : tuple of str
        Plain text.
    rows : tuple of tuples of Text
        Each as long as the header; its first says what it is about.
    caption : Text
    """

    name: str
    header: tuple[str, ...]
    rows: tuple[tuple[Text, ...], ...]
    caption: Text = ""


Part: TypeAlias = Text | Shown | Pictures | Slider | Table


@dataclass(frozen=True)
class Section:
    """A heading in plain text, and what lies below it; a str is a paragraph."""

    title: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Study:
    """A page.

    Attributes
    ----------
    title : str
        Plain text.
    lead : Text
        The answer.
    facts : dict
        JSON values.
    sections : tuple of Section
    made : tuple of str
        URLs of what else the study has written; linked where the page can reach it.
    """

    title: str
    lead: Text
    facts: dict[str, Any]
    sections: tuple[Section, ...]
    made: tuple[str, ...] = ()


@dataclass(frozen=True)
class StudyReport:
    """The report of a study: the URL of ``index.html``, the pictures on it, and its size in bytes."""

    page: str
    n_pictures: int
    page_bytes: int


def write_study(url: str | Store, study: Study) -> StudyReport:
    """Write a study below `url`: figures, tables, numbers.json, and index.html last.

    The page needs nothing but itself: pictures and tables are in it too.

    Parameters
    ----------
    url : str or Store
        A folder, or a prefix in an object store.
    study : Study

    Raises
    ------
    ValueError
        If the study is wrong: a reference to nothing, a number that is not finite, a name that is no file's,
        a name used twice, a row longer or shorter than its header. Nothing is written then.
    StorageError
        If an object cannot be written.
    """
    references.check_json(study.facts)
    numbers = json.dumps(study.facts, indent=1, ensure_ascii=False, allow_nan=False)
    facts = json.loads(numbers)  # which references see as a reader of the file does
    shown = [one for part in _parts(study) for one in _shown(part)]
    tables = [part for part in _parts(study) if isinstance(part, Table)]
    listed = layout.named(
        [(f"figures/{name}", picture.data) for one in shown for name, picture in _figure_files(one)]
        + [(f"tables/{table.name}.csv", _csv(facts, table)) for table in tables]
    )
    store = open_store(url)
    html = _render(study, facts, listed, store.url_of(_PAGE)).encode()
    for key, data in (listed | {_NUMBERS: numbers.encode(), _PAGE: html}).items():
        store.put(key, data)
    return StudyReport(store.url_of(_PAGE), len(shown), len(html))


def _render(study: Study, facts: Any, listed: dict[str, bytes], page: str) -> str:
    return template.render(
        "study.html",
        study=study,
        title=study.title,
        numbers=_NUMBERS,
        contents=len(study.sections) >= _CONTENTS_FROM,
        html=functools.partial(references.html, facts),
        plain=functools.partial(references.plain, facts),
        file_uri=lambda key: layout.csv_uri(listed[key]),
        files=[_NUMBERS, *listed],
        link=lambda url: links.relative(url, page),
        display=layout.display,
        least_width=layout.least_width,
        numeric=layout.numeric,
    )


def _parts(study: Study) -> Iterator[Part]:
    return (part for section in study.sections for part in section.parts)


def _shown(part: Part) -> tuple[Shown, ...]:
    match part:
        case Shown():
            return (part,)
        case Pictures():
            return part.shown
        case Slider():
            original = () if part.original is None else (part.original,)
            return (*original, *(one for step in part.steps for one in step.shown))
    return ()


def _figure_files(shown: Shown) -> Iterator[tuple[str, Picture]]:
    for suffix, picture in zip(("", "-dark"), shown.pair, strict=False):
        yield f"{shown.name}{suffix}.{layout.extension(picture)}", picture


def _csv(facts: Any, table: Table) -> bytes:
    for row in table.rows:
        if len(row) != len(table.header):
            raise ValueError(
                f"table {table.name}: a row of {len(row)} below a header of {len(table.header)}: {row}"
            )
    rows = ([references.raw(facts, cell) for cell in row] for row in table.rows)
    return layout.csv_file([table.header, *rows])
