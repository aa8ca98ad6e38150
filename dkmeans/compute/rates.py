"""The rates of this machine, as `dkmeans calibrate` has measured them: a JSON file that plans are made from.

It lies in the cache folder of the user, or where the variable ``DKMEANS_RATES`` says: an image of a container
that is calibrated at its build sets that. Where there is none that can be used, plans take the rates of the
machine that dkmeans is measured on, and say so.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from dkmeans.compute.memory import memory_limit, n_cores
from dkmeans.errors import StorageError
from dkmeans.plan.cost import Rates, StepRate, StoreRate

__all__ = ["FORMAT_VERSION", "Calibration", "hardware", "load_rates", "rates_path", "save_rates"]

FORMAT_VERSION = 1
_VARIABLE = "DKMEANS_RATES"
_SHIPPED = Path(__file__).with_name("rates.json")
"""What `dkmeans calibrate` has found on the machine that dkmeans is measured on."""


@dataclass(frozen=True)
class Calibration:
    """Rates, and where they are from.

    Attributes
    ----------
    rates : Rates
    hardware : dict
        Processor, cores and memory of the machine.
    versions : dict
        Of dkmeans and the libraries that do the work.
    date : str
        ISO 8601, UTC.
    problem : str
        Why these are not the rates of this machine; empty if they are.
    """

    rates: Rates
    hardware: dict[str, Any]
    versions: dict[str, str]
    date: str
    problem: str = field(default="", compare=False)

    @property
    def told(self) -> str:
        """One line for people: whose rates these are."""
        whose = f"{self.hardware['cores']} cores of {self.hardware['processor']}"
        return f"rates of {whose}, measured {self.date[:10]}{f'; {self.problem}' if self.problem else ''}"


def hardware() -> dict[str, Any]:
    """Processor, cores and bytes of memory of this machine."""
    return {"processor": _processor(), "cores": n_cores(), "memory_bytes": memory_limit()}


def _processor() -> str:
    """The name of the processor, as Linux knows it; elsewhere what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def rates_path() -> Path:
    """Where the rates of this machine lie, whether or not they are there."""
    if given := os.environ.get(_VARIABLE):
        return Path(given)
    if sys.platform == "win32":
        folder = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        folder = Path.home() / "Library" / "Caches"
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return folder / "dkmeans" / "rates.json"


def save_rates(found: Calibration) -> Path:
    """Write the rates in place of those before; where they lie.

    Raises
    ------
    StorageError
        If they cannot be written.
    """
    path = rates_path()
    document = {"format_version": FORMAT_VERSION, **asdict(found)}
    del document["problem"]
    whole = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        whole.write_text(f"{json.dumps(document, indent=1)}\n", encoding="utf-8")
        whole.replace(path)
    except OSError as error:
        raise StorageError(
            f"{path}: the rates cannot be written: {error.strerror}. Set {_VARIABLE} to a file that can be."
        ) from error
    return path


def load_rates() -> Calibration:
    """The rates of this machine; those that dkmeans ships, with the problem, where there are none to use."""
    path, advice = rates_path(), "`dkmeans calibrate` measures those of this machine"
    try:
        found = _parsed(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return _shipped(f"none were measured here; {advice}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return _shipped(f"{path} cannot be read ({error}); {advice}")
    here = hardware()
    if any(found.hardware.get(name) != here[name] for name in ("processor", "cores")):
        there = f"{here['cores']} cores of {here['processor']}"
        return replace(found, problem=f"another machine than this one, {there}")
    return found


def _shipped(problem: str) -> Calibration:
    found = _parsed(json.loads(_SHIPPED.read_text(encoding="utf-8")))
    return replace(found, problem=problem)


def _parsed(document: Any) -> Calibration:
    """A calibration from its JSON, all numbers of which are above 0.

    Raises
    ------
    ValueError, KeyError, TypeError, AttributeError
        If it is none, or of another version.
    """
    if document["format_version"] != FORMAT_VERSION:
        raise ValueError(f"format {document['format_version']}, expected {FORMAT_VERSION}")
    values = dict(document["rates"])
    steps = tuple(StepRate(**each) for each in values.pop("steps"))
    stores = tuple(StoreRate(**each) for each in values.pop("stores"))
    rates = Rates(**values, steps=steps, stores=stores)
    if not steps or not stores:
        raise ValueError("no steps or no stores")
    _check_numbers(asdict(rates))
    about = {"processor": str(document["hardware"]["processor"]), "cores": document["hardware"]["cores"]}
    return Calibration(
        rates, {**document["hardware"], **about}, dict(document["versions"]), str(document["date"])
    )


def _check_numbers(value: Any) -> None:
    if isinstance(value, dict):
        value = [each for name, each in value.items() if name != "url"]
    if isinstance(value, (list, tuple)):
        for each in value:
            _check_numbers(each)
    elif not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
        raise ValueError(f"found {value!r}, expected a number of at least 0")
