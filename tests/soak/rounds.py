"""One round: a pipeline on a cluster, disturbed as planned, resumed until it has ended, and compared."""

from __future__ import annotations

import random
import shutil
import time
import traceback
from collections import Counter
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from functools import lru_cache
from io import StringIO
from pathlib import Path

from object_store.proxy import FaultyProxy
from soak.checks import Expected, complaints, differences, expect, finished, look, n_there, n_writes
from soak.disturbance import Disturbance
from soak.pipelines import Pipeline, Step, pictures, pipeline
from soak.plans import Plan, Try, plan
from soak.scene import Scene
from soak.stores import Store

from dkmeans.command.main import main
from dkmeans.storage.store import open_store

__all__ = ["Round", "Tally", "undisturbed"]


@dataclass
class Tally:
    """What has been done, and what was found."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    codes: Counter[int] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


class StepFailed(Exception):
    """What comes after in the pipeline cannot be run."""


@lru_cache(maxsize=4)
def undisturbed(seed: int, folder: Path) -> tuple[Expected, ...]:
    """What each step of a pipeline leaves on local files, made by this process alone."""
    made, photos, root = pipeline(seed), folder / "photos", folder / "out"
    write_pictures(made, str(photos))
    expected = []
    for step in made.steps:
        command = step.command(str(photos), str(root))
        try:
            with redirect_stderr(StringIO()) as said:
                main([*command, "--scheduler", "sync", "--quiet"])
        except SystemExit as ended:
            if ended.code in (130, 143):
                raise KeyboardInterrupt from None
            if ended.code:
                raise RuntimeError(f"undisturbed, dkmeans {' '.join(command)}: {said.getvalue()}") from None
        expected.append(expect(step, str(root)))
    shutil.rmtree(folder)
    return tuple(expected)


def write_pictures(made: Pipeline, url: str) -> None:
    for key, data in pictures(made).items():
        open_store(url).put(key, data)


@dataclass
class Round:
    """One pipeline under one plan.

    Attributes
    ----------
    seed : int
        Of the plan; two rounds share a pipeline.
    store : Store
        Where the disturbed run reads and writes.
    folder : Path
        For logs; new.
    kinds : tuple of str
        Of faults.
    bound : float
        Seconds that a command may take.
    tally : Tally
    """

    seed: int
    store: Store
    folder: Path
    kinds: tuple[str, ...]
    bound: float
    tally: Tally

    def run(self) -> list[str]:
        """The problems found, each in a line; the log is in the folder."""
        self.folder.mkdir(parents=True)
        self.began = time.monotonic()
        self.problems: list[str] = []
        try:
            self.disturbed()
        except StepFailed as failed:
            self.problem(str(failed))
        except Exception:  # of the soak or of what it reads; the next round goes on
            self.problem(traceback.format_exc())
        self.tally.counts["pipelines"] += 1
        self.tally.problems += self.problems
        return self.problems

    def disturbed(self) -> None:
        """Run the pipeline, step by step."""
        made = pipeline(self.seed // 2)
        self.plan: Plan = plan(self.seed, len(made.steps), self.kinds)
        self.say(f"{made}\n{self.plan}")
        expected = undisturbed(self.seed // 2, self.folder / "undisturbed")
        with self.store.access(), FaultyProxy(self.store.endpoint) as self.proxy:
            place = self.store.place(self.folder)
            self.photos, self.root = f"{place}/photos", f"{place}/out"
            write_pictures(made, self.photos)
            environment = self.store.environment(self.proxy.endpoint)
            self.scene = Scene(self.folder, self.plan.setting, environment, self.store.server, self.say)
            try:
                for number, step in enumerate(made.steps):
                    self.step(step, self.plan.tries[number], expected[number], self.plan.again[number])
            finally:
                self.proxy.plan(lambda *_: None)
                for process in self.scene.stop():
                    self.problem(f"left behind, and killed: {process}")

    def step(self, step: Step, tries: tuple[Try, ...], expected: Expected, again: bool) -> None:
        """Run a step until it has ended well, and compare."""
        self.tally.counts["stages"] += 1
        for number, attempt in enumerate(tries):
            self.tally.counts["resumes"] += attempt.how == "--resume"
            self.tally.counts["overwrites"] += attempt.how == "--overwrite"
            if self.attempt(step, attempt, expected, number) == 0:
                break
        else:
            raise StepFailed(f"{step.name}: it does not end well, the last time undisturbed")
        if again:
            self.tally.counts["resumes"] += 1
            if self.attempt(step, Try("--resume", ()), expected, len(tries)):
                raise StepFailed(f"{step.name}: what is finished cannot be resumed")
        found = differences(step, self.root, expected, self.folder / "differences")
        self.tally.counts["differences"] += len(found)
        for difference in found:
            self.problem(f"{step.name}: {difference}")
        if found:
            raise StepFailed(f"{step.name}: what comes after it would differ too")

    def attempt(self, step: Step, attempt: Try, expected: Expected, number: int) -> int:
        """Run the command once, disturbed as planned; its exit code."""
        log = self.folder / f"{step.name.replace('/', '-')}-{number}.err"
        command = step.command(self.photos, self.root) + ([attempt.how] if attempt.how else [])
        self.say(f"dkmeans {' '.join(command)}")
        self.scene.repair(self.plan.setting.late if not number else 0)
        there = 0 if attempt.how == "--overwrite" else n_there(step, self.root)
        disturbance = Disturbance(self.scene, attempt.faults, max(1, n_writes(expected) - there), self.say)
        self.proxy.plan(lambda method, path, _: disturbance.wrote() if method == "PUT" else None)
        self.scene.start_driver(command, log)
        try:
            code, waited = self.wait(step, expected, disturbance)
        finally:
            disturbance.finish()
            self.proxy.plan(lambda *_: None)
        self.say(f"exit code {code} after {waited:.1f} s, {disturbance.happened}: {log.read_text().strip()}")
        for error in disturbance.errors:
            self.problem(f"{step.name}: a fault could not be done, or mended: {error}")
        self.tally.faults.update(disturbance.happened)
        self.tally.codes[code] += 1
        out = log.with_suffix(".out").read_text()
        if waited < self.bound:
            err, done = log.read_text(errors="replace"), finished(step, self.root)
            for complaint in complaints(code, out, err, disturbance.happened, done=done):
                self.problem(f"{step.name}: {complaint}")
        return code

    def wait(self, step: Step, expected: Expected, disturbance: Disturbance) -> tuple[int, float]:
        """Wait for the driver, and look at its outputs now and then; its exit code and the seconds."""
        chance = random.Random(self.seed)
        began = time.monotonic()
        next_look = began + chance.uniform(1, 5)
        driver = self.scene.driver
        assert driver is not None
        fewest = n_there(step, self.root) if self.store.server is None else 0
        while driver.poll() is None:
            time.sleep(0.02)
            if self.store.server is None:
                there = n_there(step, self.root)
                fewest = min(fewest, there)
                disturbance.wrote(there - fewest)
            if time.monotonic() > next_look and not disturbance.has_store_faults:
                for found in look(step, self.root, expected):
                    self.problem(f"{step.name}: {found}")
                next_look = time.monotonic() + chance.uniform(0.5, 3)
            if time.monotonic() - began > self.bound:
                self.tally.counts["waits that outlast the bound"] += 1
                self.problem(f"{step.name}: still at it after {self.bound:.0f} s; its stacks are in the logs")
                disturbance.finish()
                self.scene.tell_stacks()
                driver.kill()
                break
        return driver.wait(), time.monotonic() - began

    def problem(self, text: str) -> None:
        self.say(f"PROBLEM {text}")
        self.problems.append(text)

    def say(self, text: str) -> None:
        with (self.folder / "round.log").open("a") as log:
            log.write(f"{time.monotonic() - self.began:7.2f} {text}\n")
