"""Disturb random pipelines for some minutes: ``make soak``, or ``PYTHONPATH=tests python -m soak``.

Round after round, each of the next seed: a random pipeline runs on a local cluster while its processes are
killed, paused and started again; it is resumed until it has ended, and its bytes are compared with those of
the undisturbed run. What went wrong is told with the command that does it again.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from soak.plans import KINDS
from soak.rounds import Round, Tally
from soak.stores import store_of

__all__ = ["main"]

WAIT = 150.0
"""Above what a run may wait itself: 60 s for a worker, 60 s for a scheduler."""


def main(argv: Sequence[str] | None = None) -> int:
    """Soak; 0 if nothing was found, 1 else, 130 if it was stopped before."""
    options = _options(argv)
    logs = Path(tempfile.mkdtemp(prefix="dkmeans-soak-", dir=options.logs)).resolve()
    seed = options.seed if options.seed is not None else time.time_ns() // 1_000_000 % 1_000_000_000
    print(f"seed {seed}, store {options.store}; logs of what goes wrong: {logs}", flush=True)
    tally = Tally()
    began = time.monotonic()
    stopped = False
    try:
        with store_of(options.store, logs / "store") as store:
            end = began + 60 * options.minutes
            last = seed + options.rounds if options.rounds else None
            while seed != last and (last or time.monotonic() < end):
                folder = logs / f"round-{seed}"
                problems = Round(seed, store, folder, options.faults, options.wait, tally).run()
                _tell(seed, problems, folder, options, time.monotonic() - began)
                seed += 1
    except KeyboardInterrupt:
        print(f"stopped; the log of this round: {logs / f'round-{seed}'}", flush=True)
        stopped = True
    finally:
        shutil.rmtree(logs / "store", ignore_errors=True)
        if not tally.problems and not any(logs.glob("*/round.log")):
            shutil.rmtree(logs)
    print(_summary(tally, time.monotonic() - began), flush=True)
    return 1 if tally.problems else 130 if stopped else 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="no round begins after them [10]")
    parser.add_argument("--rounds", type=int, help="so many rounds, however long they take")
    parser.add_argument("--seed", type=int, help="of the first round; the next has the next one")
    parser.add_argument("--store", choices=["ceph", "moto", "local"], default="ceph")
    parser.add_argument("--faults", type=_kinds, default=tuple(KINDS), help="such as driver,store.kill")
    parser.add_argument("--wait", type=float, default=WAIT, help="seconds that a command may take [150]")
    parser.add_argument("--logs", help="where the folder of logs is made [where temporary files are]")
    return parser.parse_args(argv)


def _kinds(text: str) -> tuple[str, ...]:
    """The kinds that begin with one of some names."""
    kinds = tuple(kind for kind in KINDS if text and kind.startswith(tuple(text.split(","))))
    if not kinds:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected some of {', '.join(KINDS)}")
    return kinds


def _stop(number: int, frame: FrameType | None) -> None:
    """End in order: what was started is stopped, whatever else comes."""
    for sent in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sent, signal.SIG_IGN)
    raise KeyboardInterrupt


def _tell(seed: int, problems: list[str], folder: Path, options: argparse.Namespace, seconds: float) -> None:
    """A line for a round; more for one that went wrong, which keeps its folder."""
    print(f"{seconds:7.0f} s  seed {seed}: {f'{len(problems)} PROBLEMS' if problems else 'ok'}", flush=True)
    if not problems:
        shutil.rmtree(folder)
        return
    faults = "" if options.faults == tuple(KINDS) else f" FAULTS={','.join(options.faults)}"
    wait = "" if options.wait == WAIT else f" WAIT={options.wait:g}"
    for problem in problems:
        print(f"    {problem}")
    print(f"    again: make soak SEED={seed} ROUNDS=1 STORE={options.store}{faults}{wait}")
    print(f"    logs: {folder}", flush=True)


def _summary(tally: Tally, seconds: float) -> str:
    counts = tally.counts
    names = ("pipelines", "stages", "resumes", "overwrites", "differences", "waits that outlast the bound")
    faults = ", ".join(f"{kind} {number}" for kind, number in sorted(tally.faults.items()))
    codes = ", ".join(f"{code}: {number}" for code, number in sorted(tally.codes.items()))
    return "\n".join(
        [
            f"{seconds / 60:.1f} minutes",
            *(f"{name}: {counts[name]}" for name in names),
            f"faults: {tally.faults.total()} ({faults})",
            f"exit codes: {codes}",
            f"problems: {len(tally.problems)}",
        ]
    )


if __name__ == "__main__":
    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)
    sys.exit(main())
