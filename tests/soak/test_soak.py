"""The soak itself: what it plans is a function of the seed, and what it checks it finds."""

from __future__ import annotations

import re

import pytest
from soak.__main__ import main
from soak.checks import complaints, differences, expect, finished, look
from soak.disturbance import Disturbance
from soak.pipelines import Step, pictures, pipeline
from soak.plans import KINDS, Fault, plan

from dkmeans.storage.store import Store

SEEDS = range(300)
STEP = Step(("quantize",), ("archive",), ("images",))


def test_the_same_seed_gives_the_same_plan_and_pictures():
    for seed in SEEDS[:20]:
        assert pipeline(seed) == pipeline(seed)
        assert pictures(pipeline(seed)) == pictures(pipeline(seed))
        assert plan(seed, 4) == plan(seed, 4)
    assert len({repr(plan(seed, 4)) for seed in SEEDS}) == len(SEEDS)
    assert len({repr(pipeline(seed)) for seed in SEEDS}) == len(SEEDS)


def test_all_commands_and_all_faults_occur():
    commands = {step.arguments[0] for seed in SEEDS for step in pipeline(seed).steps}
    assert commands == {"ingest", "fit", "sweep", "cut", "compress", "reconstruct", "quantize", "decode"}
    plans = [plan(seed, 4) for seed in SEEDS]
    tries = [attempt for made in plans for of_step in made.tries for attempt in of_step]
    assert {fault.kind for attempt in tries for fault in attempt.faults} == set(KINDS)
    assert {made.setting.where for made in plans} == {"hosts", "local", "sync"}
    assert {attempt.how for attempt in tries} == {"", "--resume", "--overwrite"}
    assert not any(of_step[-1].faults for made in plans for of_step in made.tries)


def test_only_faults_of_the_kinds_that_were_asked_for():
    for seed in SEEDS:
        for of_step in plan(seed, 3, ["driver.kill", "scheduler.pause"]).tries:
            assert {fault.kind for attempt in of_step for fault in attempt.faults} <= {
                "driver.kill",
                "scheduler.pause",
            }


class Harmed:
    """A scene that keeps what was done."""

    def __init__(self):
        self.done = []

    def harm(self, fault):
        self.done.append(fault.kind)
        return lambda: self.done.append("mended")


def test_a_fault_comes_at_its_write_and_is_mended():
    scene, said = Harmed(), []
    faults = [Fault("store.kill", 0.5, 0, 60, 0), Fault("worker.kill", 1.05, 0, 60, 0)]
    disturbance = Disturbance(scene, faults, 10, said.append)
    for _ in range(5):
        disturbance.wrote()
    assert scene.done == []
    disturbance.wrote()
    assert scene.done == disturbance.happened == ["store.kill"]
    disturbance.finish()
    disturbance.wrote(20)
    assert scene.done == ["store.kill", "mended"]
    assert said[0] == "write 6: store.kill after 0 s, for 60 s"


@pytest.mark.parametrize(
    ("code", "err", "happened", "told"),
    [
        (0, "", [], []),
        (0, "warning: not converged", ["worker.kill"], []),
        (-9, "", ["driver.kill"], []),
        (143, "interrupted; nothing was kept", ["worker.pause", "driver.term"], []),
        (5, "error: the scheduler is gone. Start it.", ["scheduler.kill"], []),
        (5, "error: the scheduler is gone. Start it.", ["worker.kill"], ["exit code 5 after worker.kill"]),
        (1, "error: this is a bug: KeyError", ["scheduler.kill"], ["exit code 1 after scheduler.kill"]),
        (4, "error: the store does not answer", [], ["exit code 4 after nothing"]),
        (5, "error: a\nb\nc", ["scheduler.kill"], ["expected a message"]),
        (130, "", ["driver.int"], ["expected a message"]),
        (130, "", ["driver.int", "driver.int"], []),
        (-2, "", ["driver.int"], ["the signal ended it"]),
        (-15, "", ["driver.int", "driver.term"], []),
        (0, "Traceback (most recent call last):\n", [], ["a traceback"]),
    ],
)
def test_what_a_command_may_say(code, err, happened, told):
    found = complaints(code, "", err, happened, done=False)
    assert len(found) == len(told), found
    assert all(complaint.startswith(start) for complaint, start in zip(found, told, strict=True))
    assert complaints(-2, "", "", ["driver.int"], done=True) == []


@pytest.fixture
def archive(photos, dkmeans, tmp_path):
    """A root with an archive and a folder of images."""
    options = ("--scheduler", "sync", "--quiet")
    command = ("quantize", photos, tmp_path / "out/archive", "--k", 4, "--to", "archive", "--tol", 0)
    assert dkmeans(*command, *options)[0] == 0
    assert dkmeans("decode", tmp_path / "out/archive", tmp_path / "out/images", *options)[0] == 0
    return str(tmp_path / "out")


def test_other_bytes_are_found(archive, tmp_path):
    expected = expect(STEP, archive)
    aside = tmp_path / "aside"
    assert differences(STEP, archive, expected, aside) == look(STEP, archive, expected) == []
    assert finished(STEP, archive)
    key = next(key for key in expected.objects["archive"] if key.startswith("codes/c/"))
    data = Store(f"{archive}/archive").get(key)
    Store(f"{archive}/archive").put(key, data + b"x")
    Store(f"{archive}/images").put("cat.png", b"")
    Store(f"{archive}/images").put("more.png", b"")
    told = differences(STEP, archive, expected, aside)
    assert [re.split(": ", line)[0] for line in told] == [
        f"archive/{key}",
        "images/cat.png",
        "images/more.png",
    ]
    assert (aside / "found/archive" / key).read_bytes() == data + b"x"
    assert look(STEP, archive, expected) == [
        "archive: visible, but not as expected: other bytes",
        "images: visible, but not as expected: ['more.png']",
        "images/cat.png: visible, with other bytes",
    ]


def test_what_is_unfinished_is_in_order_for_a_reader(archive):
    expected = expect(STEP, archive)
    Store(f"{archive}/archive").delete(["zarr.json"])
    Store(f"{archive}/images").delete([".dkmeans/zarr.json", "cat.png"])
    assert look(STEP, archive, expected) == []
    assert not finished(STEP, archive)


@pytest.mark.slow
def test_a_round_on_local_files(tmp_path, capsys):
    """Of one step, whose driver, in one process with its tasks, is stopped and resumed."""
    assert plan(2272, len(pipeline(1136).steps)).setting.where == "sync"
    arguments = ["--store", "local", "--rounds", "1", "--seed", "2272", "--logs", str(tmp_path)]
    code = main(arguments)
    told = capsys.readouterr().out
    assert code == 0, told
    assert re.search(r"pipelines: 1\n.*differences: 0\n.*faults: [1-9]", told, re.DOTALL)
    assert list(tmp_path.iterdir()) == []


def test_what_is_wrong_is_told_with_its_seed(tmp_path, capsys, monkeypatch):
    def wrong(self):
        self.folder.mkdir()
        (self.folder / "round.log").touch()
        self.tally.problems.append("other bytes")
        return ["other bytes"]

    monkeypatch.setattr("soak.rounds.Round.run", wrong)
    arguments = ["--store", "local", "--rounds", "2", "--seed", "7", "--faults", "driver.kill"]
    assert main([*arguments, "--logs", str(tmp_path)]) == 1
    told = capsys.readouterr().out
    assert "    other bytes\n    again: make soak SEED=8 ROUNDS=1 STORE=local FAULTS=driver.kill\n" in told
    assert [file.parent.name for file in sorted(tmp_path.rglob("round.log"))] == ["round-7", "round-8"]
