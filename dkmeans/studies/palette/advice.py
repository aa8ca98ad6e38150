"""The advice of the study of palettes: the fewest colors for what one wants to see, in words and tables."""

from __future__ import annotations

from typing import Any

from dkmeans.report.references import literal
from dkmeans.report.study import Section, Table, Text
from dkmeans.studies.palette.facts import Made

__all__ = ["goals_section", "image_goals", "needs"]

_MORE = "over {/max_colors:integer}"
_START, _ALIKE = 1, 2
"""Positions among the goals: 35 dB to start with, and 40 dB."""


def needs(made: Made) -> Text:
    """Say what the two goals take that matter most."""
    they = "it needs" if made.facts["n_images"] == 1 else "they need"
    return (
        f"To look right at a glance ({{/goals/{_START}/words:text}}) {they} {_span(made.facts, _START)}; "
        f"to be hard to tell from the original ({{/goals/{_ALIKE}/words:text}}), {_span(made.facts, _ALIKE)}."
    )


def _span(facts: dict[str, Any], place: int) -> Text:
    """The numbers of colors from the easiest photo to the hardest."""
    goal = facts["goals"][place]
    at_most = "" if facts["searched"] else "at most "
    least, most = f"{{/goals/{place}/least_colors:integer}}", f"{{/goals/{place}/n_colors:integer}}"
    if goal["least_colors"] is None:
        return "more than {/max_colors:integer} colors"
    if goal["n_colors"] is None:
        hardest = "more than {/max_colors:integer} in the hardest"
        return f"{at_most}{least} colors in the easiest photo and {hardest}"
    if goal["least_colors"] == goal["n_colors"]:
        return f"{at_most}{most} colors"
    return f"{at_most}{least} to {most} colors, depending on the photo"


def goals_section(made: Made) -> Section:
    """How many colors are enough, for each photo and for all, and what to type."""
    return Section("How many colors?", (_what_to_do(made), _goal_table(made), _MEANING, _image_table(made)))


_MEANING = (
    "What one sees, as a rule of thumb: at 30 dB a photo looks like a poster, with patches for faces and "
    "skies. At 35 dB it looks right at a glance, but skies show bands, and small things may lose their hue. "
    "At 40 dB it is hard to tell from the original. SSIM compares edges and textures instead of single "
    "pixels; 0.95 usually lies between 35 and 40 dB. Bands in skies go away with --dither, at the price of "
    "some grain."
)


def _what_to_do(made: Made) -> Text:
    facts = made.facts
    goal = facts["goals"][_START]
    if not facts["searched"]:
        enough = (
            f"{{/goals/{_START}/n_colors:integer}} colors are enough for {{/goals/{_START}/words:text}} in "
            "every photo: give that number to dkmeans quantize SRC DST --palette shared --k. Fewer may do, "
            "as only the numbers of colors in the tables were tried."
        )
        missed = (
            f"Even {{/max_colors:integer}} colors in one palette for all do not reach "
            f"{{/goals/{_START}/words:text}} in every photo. Give each photo a palette of its own: dkmeans "
            f"quantize SRC DST {{/goals/{_START}/option:text}}."
        )
        return missed if goal["n_colors"] is None else enough
    advice = (
        "Let each photo have as many colors as it needs: dkmeans quantize SRC DST "
        f"{{/goals/{_START}/option:text}}. Here that makes files of {{/goals/{_START}/stored_bytes:size}}; "
        "the originals take {/source_bytes:size}."
    )
    if goal["n_colors"] is None:
        return advice
    return f"{advice} If all shall have the same number, take --k {{/goals/{_START}/n_colors:integer}}."


def _goal_table(made: Made) -> Table:
    """A row for each goal."""
    rows = tuple(
        (
            f"{{/goals/{place}/words:text}}",
            _colors(made, f"/goals/{place}/least_colors", goal["least_colors"]),
            _colors(made, f"/goals/{place}/n_colors", goal["n_colors"]),
            f"{{/goals/{place}/n_reached:integer}} of {{/n_images:integer}}",
            f"{{/goals/{place}/stored_bytes:size}}",
        )
        for place, goal in enumerate(made.facts["goals"])
    )
    found = (
        "The fewest colors that reach each goal: with one fewer each photo was tried, and does not. Files "
        "are those of all photos, each with its own number."
        if made.facts["searched"]
        else "The smallest of the measured numbers that reach each goal; fewer may do. Files are those of "
        "all photos with the number that is enough for every one."
    )
    header = ("Goal", "Easiest photo", "Every photo", "Reached by", "Files")
    return Table("goals", header, rows, found)


def _image_table(made: Made) -> Table:
    """A row for each photo."""
    goals = made.facts["goals"]
    rows = tuple(
        (
            literal(image["name"]),
            *(
                _colors(
                    made, f"/goals/{place}/images/{position}/n_colors", goal["images"][position]["n_colors"]
                )
                for place, goal in enumerate(goals)
            ),
            f"{{/images/{position}/elbow:integer}}" if image["elbow"] else "none",
        )
        for position, image in enumerate(made.facts["images"])
    )
    fewest = (
        "The fewest colors of each photo"
        if made.facts["searched"]
        else "At most so many colors each photo takes"
    )
    caption = f"{fewest}, and the elbow of its curve, which knows nothing of what one sees."
    return Table("fewest", ("Photo", *(goal["words"] for goal in goals), "Elbow"), rows, caption)


def image_goals(made: Made, position: int) -> Text:
    """Say what one photo needs."""
    most = "" if made.facts["searched"] else "at most "
    told = []
    for place, goal in enumerate(made.facts["goals"]):
        at = f"/goals/{place}/images/{position}/n_colors"
        n_colors = goal["images"][position]["n_colors"]
        told.append(
            f"{most if n_colors else ''}{_colors(made, at, n_colors)} for {{/goals/{place}/words:text}}"
        )
    elbow = f"{{/images/{position}/elbow:integer}}"
    bend = f"; its curve bends at {elbow}" if made.facts["images"][position]["elbow"] else ""
    return f"The fewest colors: {', '.join(told)}{bend}."


def _colors(made: Made, pointer: str, n_colors: int | None) -> Text:
    """A number of colors, or that more are needed than were tried."""
    return f"{{{pointer}:integer}}" if n_colors is not None else _MORE
