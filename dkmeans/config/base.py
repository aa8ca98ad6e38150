"""The base of all models: frozen, strict about unknown keys, errors in the words of dkmeans."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from dkmeans.errors import UsageError

__all__ = [
    "KEYS",
    "PLACES",
    "Allowance",
    "Bytes",
    "Counts",
    "Model",
    "Positive",
    "Size",
    "StageConfig",
    "nearest",
]


def _parse_size(value: object) -> object:
    """``5`` and ``"5"`` are (5, 5); ``"8x6"`` is (8, 6): rows by columns."""
    if isinstance(value, bool):
        raise ValueError("expected a size such as 5 or 8x8")
    if isinstance(value, int):
        return (value, value)
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+)(?:\s*[xX]\s*(\d+))?\s*", value)
        if match is None:
            raise ValueError("expected a size such as 5 or 8x8")
        return (int(match[1]), int(match[2] or match[1]))
    return value


_MOST_COUNTS = 10_000
"""Numbers in one list: each is a fit, and a longer list is a slip of the keyboard."""


def _parse_counts(value: object) -> object:
    """``"100,200"`` is (100, 200), ``"100:300:100"`` is (100, 200, 300), and both may be mixed."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return value
    found: list[int] = []
    for part in str(value).split(","):
        match = re.fullmatch(r"\s*(\d+)(?:\s*:\s*(\d+)(?:\s*:\s*(\d+))?)?\s*", part)
        if match is None:
            raise ValueError("expected numbers such as 100,200 or 100:1000:100, both ends included")
        start, stop, step = int(match[1]), int(match[2] or match[1]), int(match[3] or 1)
        if stop < start or step < 1:
            raise ValueError(f"expected ascending numbers instead of {part.strip()}")
        if len(found) + (stop - start) // step >= _MOST_COUNTS:
            raise ValueError(f"expected at most {_MOST_COUNTS} numbers; take larger steps")
        found += range(start, stop + 1, step)
    return found


def _ascending(values: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(set(values)))


def _parse_allowance(value: object) -> object:
    """``7`` and ``"7"`` are 7, ``"5%"`` and ``"all"`` stay as they are."""
    wanted = "expected a number of images, a share such as 5%, or all"
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError(wanted)
    text = str(value).strip()
    share = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", text)
    if share and float(share[1]) <= 100:
        return f"{share[1]}%"
    if text == "all":
        return text
    if re.fullmatch(r"\d+", text):
        return int(text)
    raise ValueError(wanted)


_UNITS = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
}


def _parse_bytes(value: object) -> object:
    """``"100KiB"`` is 102400, ``"1.5 MB"`` is 1500000, ``"900"`` is 900."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", str(value))
    if match is None or match[2].lower() not in _UNITS:
        raise ValueError("expected bytes such as 100000, 100kB or 100KiB")
    return int(float(match[1]) * _UNITS[match[2].lower()])


Positive = Annotated[int, Field(ge=1)]
Bytes = Annotated[int, Field(ge=1), BeforeValidator(_parse_bytes)]
Size = Annotated[tuple[Positive, Positive], BeforeValidator(_parse_size)]
Counts = Annotated[
    tuple[Positive, ...], Field(min_length=1), BeforeValidator(_parse_counts), AfterValidator(_ascending)
]

Allowance = Annotated[str | int, BeforeValidator(_parse_allowance)]

KEYS = {"n_clusters": "k", "start": "from"}
"""Fields that the command line and a job file call by another name."""
PLACES = {
    *("source", "dataset", "codebook", "start", "sweep", "cut", "result", "archive", "images"),
    *("destination", "out", "test", "report", "page", "results"),
    *("performance_report", "tls_ca", "tls_cert", "tls_key"),
}
"""Fields that are paths or URLs, or lists of them."""
_NOT_RECORDED = {
    "overwrite",
    "resume",
    "update",
    "prune",
    "once",
    "max_skipped",
    "checkpoint_seconds",
    "report",
}


class Model(BaseModel):
    """Frozen, strict about unknown keys, and with errors in the words of dkmeans."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, use_attribute_docstrings=True, defer_build=True
    )

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise UsageError(_explain(error, type(self))) from None


class StageConfig(Model):
    """Options of every stage that writes an artefact."""

    overwrite: bool = False
    """Delete the output first, if it is an artefact of dkmeans."""
    resume: bool = False
    """Continue an unfinished output; a finished one with the same options is left as it is."""

    def recorded(self) -> dict[str, Any]:
        """The options that decide what is written, as JSON values, for the claim and the manifest."""
        return self.model_dump(mode="json", exclude=_NOT_RECORDED)


def _explain(error: ValidationError, model: type[BaseModel]) -> str:
    """One part for each field, of several values that do not fit the first."""
    first: dict[tuple[Any, ...], dict[str, Any]] = {}
    for details in error.errors():
        place = tuple(part for part in details["loc"] if not isinstance(part, int))
        first.setdefault(place, {**details, "loc": details["loc"] if details["type"] == "missing" else place})
    return "; ".join(_explain_one(details, model) for details in first.values())


def _explain_one(details: dict[str, Any], model: type[BaseModel]) -> str:
    location = details["loc"]
    where = ".".join(str(part) for part in location) or "config"
    if details["type"] == "extra_forbidden":
        return f"unknown key {where!r}{_nearest(where, model)}"
    if details["type"] == "missing":
        return f"{KEYS.get(where, where)} is missing; it is required"
    message = details["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if location and location[0] == "storage":  # whose values may be secrets
        return f"{where}: {message.replace('input should be', 'expected')}"
    return f"{where}: found {details['input']!r}; {message.replace('input should be', 'expected')}"


def _nearest(key: str, model: type[BaseModel]) -> str:
    """The hint at the keys of `model`."""
    keys = [KEYS.get(name, name) for name in model.model_fields]
    return "; it is given twice" if key in keys else nearest(key, keys)  # k beside n_clusters


def nearest(key: str, keys: Sequence[str]) -> str:
    """Hint at what an unknown key may have been meant for, such as ``; did you mean 'max_iter'?``."""
    close = difflib.get_close_matches(key, keys, n=1, cutoff=0.4)
    return f"; did you mean {close[0]!r}?" if close else f"; expected one of {', '.join(keys)}"
