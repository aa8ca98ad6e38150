"""What is compared, and what a command may say."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults.place import stored
from soak.pipelines import Step
from soak.plans import allowed_codes

from dkmeans.artefacts.folder import HIDDEN
from dkmeans.artefacts.kinds import place_of, read_any
from dkmeans.artefacts.manifests import CHECKPOINT, ROOT, Manifest
from dkmeans.errors import InputError
from dkmeans.storage.store import Store

__all__ = ["Expected", "complaints", "differences", "expect", "finished", "look", "n_there", "n_writes"]

VOLATILE = re.compile(r"\.dkmeans/|curves/seconds/|codebooks/")
"""Claims, records and times of runs; the codebooks of a sweep are outputs of their own."""
FACTS = (
    *("kind", "digest", "centers_sha256", "inertia", "n_iter", "converged", "n_images", "n_patches"),
    *("n_pixels", "n_clusters", "mean_psnr", "mse", "n_exact", "image_bytes"),
)
NOTHING_YET = re.compile(r"is unfinished|nothing is there")


@dataclass
class Expected:
    """What an undisturbed run of a step leaves: objects, and what the manifest says of them, by output."""

    objects: dict[str, dict[str, bytes]] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)


def leaves(url: str) -> dict[str, bytes]:
    """The objects of an output whose bytes do not depend on the run."""
    return {key: data for key, data in stored(url).items() if not VOLATILE.match(key)}


def _manifest(url: str) -> Manifest:
    return read_any(place_of(Store(url)))


def _facts(url: str) -> dict[str, Any]:
    found = _manifest(url).model_dump()
    return {name: found[name] for name in FACTS if name in found}


def expect(step: Step, root: str) -> Expected:
    """What a step has left below `root`."""
    outputs = (*step.artefacts, *step.folders)
    return Expected(
        {output: leaves(f"{root}/{output}") for output in outputs},
        {output: _facts(f"{root}/{output}") for output in outputs},
    )


def n_writes(expected: Expected) -> int:
    """About how many objects the step writes: those that are left, two for each claim, and checkpoints."""
    n_objects = sum(map(len, expected.objects.values())) + 2 * len(expected.facts)
    return n_objects + sum(facts.get("n_iter") or 0 for facts in expected.facts.values())


def n_there(step: Step, root: str) -> int:
    """How many objects of a step are there."""
    outputs = [output for output in (*step.artefacts, *step.folders) if "/" not in output]
    return sum(len(Store(f"{root}/{output}").list()) for output in outputs)


def differences(step: Step, root: str, expected: Expected, aside: Path) -> list[str]:
    """Where what lies below `root` is not what was expected; both are put into the folder `aside`."""
    found = expect(step, root)
    told = []
    for output, listed in expected.objects.items():
        told += list(_differing(output, listed, found.objects[output], aside))
        if output in expected.facts and found.facts[output] != expected.facts[output]:
            told.append(f"{output}: {found.facts[output]}, expected {expected.facts[output]}")
    return told


def _differing(
    output: str, expected: dict[str, bytes], found: dict[str, bytes], aside: Path
) -> Iterator[str]:
    for key in sorted(expected.keys() | found.keys()):
        if expected.get(key) == found.get(key):
            continue
        for name, data in (("expected", expected.get(key)), ("found", found.get(key))):
            if data is not None:
                file = aside / name / output / key
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(data)
        sizes = [f"{len(side[key])} bytes" if key in side else "nothing" for side in (found, expected)]
        yield f"{output}/{key}: {sizes[0]}, expected {sizes[1]}"


def look(step: Step, root: str, expected: Expected) -> list[str]:
    """What a reader finds wrong at any moment: what is visible has to be whole and right."""
    told = []
    for output in (*step.artefacts, *step.folders):
        url = f"{root}/{output}"
        try:
            before = _manifest(url)
        except InputError as error:
            told += [] if NOTHING_YET.search(str(error)) else [f"{output}: a reader is told {error}"]
            continue
        found = leaves(url)
        found.pop(CHECKPOINT, None)  # which goes once the manifest is there
        try:
            same = _manifest(url) == before  # else it was being overwritten
        except InputError:
            same = False
        if same and found != expected.objects[output]:
            keys = found.keys() ^ expected.objects[output].keys()
            told.append(f"{output}: visible, but not as expected: {sorted(keys) or 'other bytes'}")
    for output in step.folders:
        for key, data in expected.objects[output].items():
            if Store(f"{root}/{output}").exists(key):  # also before the folder is complete
                try:
                    found_data = Store(f"{root}/{output}").get(key)
                except InputError:  # it was deleted meanwhile
                    continue
                told += [] if found_data == data else [f"{output}/{key}: visible, with other bytes"]
    return told


def finished(step: Step, root: str) -> bool:
    """Whether all of a step is there."""
    marks = [f"{output}/{ROOT}" for output in step.artefacts]
    marks += [f"{output}/{HIDDEN}/{ROOT}" for output in step.folders]
    return all(Store(root).exists(mark) for mark in marks)


def complaints(code: int, out: str, err: str, happened: Sequence[str], *, done: bool) -> list[str]:
    """What is wrong with how a command has ended, by what has happened to it and whether it was `done`."""
    told = []
    signals = sum(kind in ("driver.term", "driver.int") for kind in happened)  # the second ends it at once
    allowed = allowed_codes(happened)
    if code not in allowed:
        after = ", ".join(happened) or "nothing"
        expected = " or ".join(map(str, sorted(allowed)))
        told.append(f"exit code {code} after {after}; expected {expected}: {err.strip()[-400:]}")
    if "Traceback (most recent call last)" in err:
        told.append(f"a traceback, exit code {code}")
    if "this is a bug" in err and code in allowed:
        told.append(f"a bug: {err.strip()[-300:]}")
    if code in (-signal.SIGINT, -signal.SIGTERM) and not done and signals == 1:
        told.append(f"the signal ended it without a word, exit code {code}, before it had finished")
    if code > 0 and signals < 2:
        lines = err.strip().splitlines()
        first = next((n for n, line in enumerate(lines) if line.startswith(("error: ", "interrupted"))), None)
        if first is None or len(lines) - first > 2:
            told.append(f"expected a message of one or two lines, found: {err.strip()[-400:]!r}")
    if out:
        told.append(f"--quiet, but stdout has {out[:200]!r}")
    return told
