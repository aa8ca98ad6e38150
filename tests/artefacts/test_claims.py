"""An output is visible whole or not at all, and written by one run: claim, crash, resume, commit."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import uuid
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import obstore
import pytest
import zarr
from artefacts.small import Small, config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from places import broken_root, foreign_attributes, foreign_file, foreign_group, nothing

from dkmeans.artefacts import claims, manifests, refusals
from dkmeans.artefacts.claims import Finished, Terms, claim, committed
from dkmeans.artefacts.coded import CodedManifest
from dkmeans.artefacts.held import Claim, claim_key, claim_numbers
from dkmeans.artefacts.manifests import Manifest, attributes_of, read_manifest
from dkmeans.artefacts.refusals import recorded_options
from dkmeans.config.stages import CompressConfig
from dkmeans.errors import (
    InputError,
    OutputExistsError,
    OutputTakenError,
    OutputUnfinishedError,
    UsageError,
)
from dkmeans.storage import arrays
from dkmeans.storage.store import Store

CLAIM, ROOT = "claim/zarr.json", "zarr.json"
OWN = ("run", "began", "host", "pid")
"""What a claim says of its own run."""


@pytest.fixture(params=["local", "memory"])
def url(request, tmp_path):
    """A place where nothing is yet."""
    return str(tmp_path / "book") if request.param == "local" else f"memory://{uuid.uuid4().hex}/book"


@pytest.fixture
def start():
    """Begins runs that are still alive when the test ends."""
    with ExitStack() as alive:

        def enter(url, **options):
            return alive.enter_context(claim(Store(url), Small, config(**options), "abc"))

        yield enter


def keys(url):
    return [found.key for found in Store(url).list()]


def contents(url):
    return {key: Store(url).get(key) for key in keys(url)}


def without_runs(url):
    """All objects but the claims; the manifest without the name of the run, which its checksum depends on."""
    found = {key: data for key, data in contents(url).items() if not key.startswith("claim/")}
    if ROOT in found:
        attributes = json.loads(found[ROOT])
        for name in ("run", "crc32c"):
            del attributes["attributes"]["dkmeans"][name]
        found[ROOT] = attributes
    return found


def tokens(url):
    """What the claims say, oldest first."""
    return [attributes_of(Store(url), claim_key(number)) for number in claim_numbers(keys(url))]


def anonymous(token):
    assert set(OWN) <= set(token)
    return {key: value for key, value in token.items() if key not in OWN}


def finish(url, facts=None, **options):
    """A small complete artefact."""
    with claim(Store(url), Small, config(**options), "abc") as held:
        arrays.create_array(Store(url), "centers", shape=(2,), dtype=np.float32)[:] = [1, 2]
        held.commit(**(facts or {"n_iter": 7}))


def begin(url, **options):
    """An artefact whose run was lost after its first array."""
    with pytest.raises(RuntimeError, match="power cut"), claim(Store(url), Small, config(**options), "abc"):  # noqa: PT012
        arrays.create_array(Store(url), "centers", shape=(2,), dtype=np.float32)
        raise RuntimeError("power cut")


class Crash(BaseException):
    """The process is lost: no code of ours catches it by name."""


# From claim to commit


def test_the_manifest_says_what_made_it(url):
    finish(url, {"n_iter": 7, "inertia": 0.5})
    stored = attributes_of(Store(url), ROOT)
    manifest = dict(stored)
    versions = manifest.pop("versions")
    assert versions["numpy"] == np.__version__
    assert set(versions) == {"dkmeans", "numpy", "numba", "zarr", "dask", "dask-ml", "scikit-learn"}
    assert manifest == {
        "format_version": manifests.FORMAT_VERSION,
        "kind": "small",
        "run": attributes_of(Store(url), CLAIM)["run"],
        "config": recorded_options(config()),
        "input_digest": "abc",
        "n_iter": 7,
        "inertia": 0.5,
        "nodes": manifests.node_checksums(Store(url)),
        "crc32c": manifest["crc32c"],
    }
    assert list(manifest["nodes"]) == ["centers/zarr.json"]
    read = read_manifest(Store(url), Small)
    assert {**read.model_dump(mode="json"), "crc32c": stored["crc32c"]} == stored


def test_what_is_committed_is_what_is_read(url):
    with claim(Store(url), Small, config(), "abc") as held:
        held.write_array("centers", np.array([[1], [2]], np.float32))
        described = held.described(n_iter=7)
        committed = held.commit(n_iter=7)
    assert committed == read_manifest(Store(url), Small)
    assert committed == described.model_copy(update={"nodes": committed.nodes})
    with claim(Store(url), Small, config(resume=True), "abc") as done:
        assert done == Finished(Store(url), committed)


@pytest.mark.parametrize(
    ("facts", "message"),
    [({"n_itre": 7}, "n_itre"), ({"n_iter": "many"}, "n_iter"), ({"n_iter": 1.5}, "n_iter")],
)
def test_facts_that_are_none_of_the_kind_are_not_committed(url, facts, message):
    with claim(Store(url), Small, config(), "abc") as held:
        with pytest.raises(ValueError, match=message):
            held.commit(**facts)
        assert keys(url) == [CLAIM]


def test_the_claim_is_there_before_anything_else_and_the_manifest_after(url):
    with claim(Store(url), Small, config(), "abc") as held:
        assert keys(url) == [CLAIM]
        (token,) = tokens(url)
        assert (token["kind"], token["input_digest"]) == ("small", "abc")
        assert token["config"] == recorded_options(config())
        assert isinstance(held, Claim)
        with pytest.raises(InputError, match="is unfinished"):
            read_manifest(Store(url), Small)
        held.commit()
        assert keys(url) == [CLAIM, ROOT]
    assert read_manifest(Store(url), Small).kind == "small"


def test_the_claim_says_who_holds_it(url):
    before = datetime.now(UTC)
    with claim(Store(url), Small, config(), "abc") as held:
        token = attributes_of(Store(url), CLAIM)
        assert (token["host"], token["pid"]) == (socket.gethostname(), os.getpid())
        assert token["run"] == held.run
        assert before <= datetime.fromisoformat(token["began"]) <= datetime.now(UTC)


def test_groups_are_marked_and_discarded(url):
    with claim(Store(url), Small, config(), "abc") as held:
        for name in ("images", "images2"):
            assert not held.has_group(name)
            arrays.create_array(Store(url), f"{name}/height", shape=(2,), dtype=np.int32)[:] = [1, 2]
            assert not held.has_group(name)
            held.commit_group(name)
            assert held.has_group(name)
        held.discard("images")
        held.discard("never there")
        assert not held.has_group("images")
        assert held.has_group("images2")
        assert [key for key in keys(url) if key.startswith("images/")] == []
        held.commit()


def test_discard_takes_the_mark_away_first(url, monkeypatch):
    with claim(Store(url), Small, config(), "abc") as held:
        arrays.create_array(Store(url), "images/a", shape=(2,), dtype=np.int32)[:] = [1, 2]
        held.commit_group("images")
        deleted = []
        monkeypatch.setattr(Store, "delete", lambda _, names: deleted.extend(names))
        held.discard("images")
        assert deleted[0] == "images/zarr.json"
        assert sorted(deleted) == [key for key in keys(url) if key.startswith("images/")]


def test_a_finished_artefact_is_plain_zarr(tmp_path):
    url = str(tmp_path / "book")
    with claim(Store(url), Small, config(), "abc") as held:
        arrays.create_array(Store(url), "centers", shape=(2,), dtype=np.float32)[:] = [1, 2]
        arrays.create_array(Store(url), "images/height", shape=(1,), dtype=np.int32)[:] = [9]
        held.commit_group("images")
        held.commit(n_iter=7)
    group = zarr.open_group(url, mode="r")  # warnings are errors
    assert sorted(name for name, _ in group.arrays()) == ["centers"]
    assert sorted(name for name, _ in group.groups()) == ["claim", "images"]
    assert group["centers"][:].tolist() == [1, 2]
    assert group["images/height"][:].tolist() == [9]
    assert group.attrs["dkmeans"]["n_iter"] == 7
    assert len(list(group.members(max_depth=None))) == 4


# Who may claim what


def other_config(url):
    begin(url, seed=9)


def other_config_finished(url):
    finish(url, seed=9)


def other_input(url):
    begin(url)
    token = Store(url).get(CLAIM).replace(b'"abc"', b'"xyz"')
    Store(url).put(CLAIM, token)


NEW, AGAIN, DONE = "claimed anew", "goes on", "finished"
EXISTS = (OutputExistsError, r"already exists; expected a new place\. Choose another, or pass --overwrite")
UNFINISHED = (
    OutputUnfinishedError,
    r"begun by another run and not finished\. .* --resume; --overwrite deletes",
)
FOREIGN = (
    UsageError,
    r"holds files that dkmeans did not write; expected a new or empty place\. Choose another",
)
NOT_OURS = (
    UsageError,
    r"was not written by dkmeans, so --overwrite does not delete it\. Choose another output",
)
CHANGED = (UsageError, r"was begun with seed = 9, found 0 now\. Resume with the same options, or pass --over")
INPUT = (UsageError, r"was begun from another input, or the input has changed since\. Pass --overwrite")
BOTH = (UsageError, r"found both --overwrite and --resume; expected at most one of them\.")


@pytest.mark.parametrize(
    ("before", "plain", "resume", "overwrite"),
    [
        (nothing, NEW, NEW, NEW),
        (begin, UNFINISHED, AGAIN, NEW),
        (finish, EXISTS, DONE, NEW),
        (other_config, UNFINISHED, CHANGED, NEW),
        (other_config_finished, EXISTS, CHANGED, NEW),
        (other_input, UNFINISHED, INPUT, NEW),
        (foreign_file, FOREIGN, FOREIGN, NOT_OURS),
        (foreign_group, FOREIGN, FOREIGN, NOT_OURS),
        (foreign_attributes, FOREIGN, FOREIGN, NOT_OURS),
        (broken_root, FOREIGN, FOREIGN, NOT_OURS),
    ],
)
def test_who_may_claim_what(url, before, plain, resume, overwrite):
    for options, outcome in (
        ({"overwrite": True, "resume": True}, BOTH),
        ({}, plain),
        ({"resume": True}, resume),
        ({"overwrite": True}, overwrite),
    ):
        Store(url).delete(keys(url))
        before(url)
        found = contents(url)
        if isinstance(outcome, tuple):
            kind, message = outcome
            with (
                pytest.raises(kind, match=message) as caught,
                claim(Store(url), Small, config(**options), "abc"),
            ):
                pass
            assert type(caught.value) is kind
            assert caught.value.exit_code == 2
            assert contents(url) == found  # a refusal touches nothing
            continue
        with claim(Store(url), Small, config(**options), "abc") as held:
            assert held.store == Store(url)
            before_it = [key for key in found if key.startswith("claim/")]
            if outcome == DONE:
                assert contents(url) == found
            else:
                assert held.number == len(before_it) + 1
                newest = claim_key(held.number)
                kept = before_it if outcome == NEW else found
                assert contents(url).items() > {key: found[key] for key in kept}.items()
                assert keys(url) == sorted([*kept, newest])
                assert tokens(url)[-1]["run"] == held.run
                assert anonymous(tokens(url)[-1]).items() >= {"kind": "small", **held.recorded}.items()
            assert (isinstance(held, Finished)) == (outcome == DONE)
            if outcome == DONE:
                assert held.manifest == read_manifest(Store(url), Small)


def test_resume_names_another_kind_of_output(url):
    begin(url)
    other = CompressConfig(dataset="data", codebook="book", result="r", resume=True)
    with (
        pytest.raises(UsageError, match="was begun with effort = None, found 4 now"),
        claim(Store(url), CodedManifest, other, "abc"),
    ):
        pass


@pytest.mark.parametrize(
    ("output", "source", "refused"),
    [
        ("/a/b", "/a/b", True),
        ("/a/b", "/a", True),
        ("/a", "/a/b", True),
        ("/a/b", "/a/bc", False),
        ("/a/bc", "/a/b", False),
        ("/a/b", "/a/c", False),
        ("s3://x/a", "s3://x", True),
        ("s3://x/a", "s3://y/a", False),
    ],
)
def test_output_and_input_must_not_overlap(output, source, refused, tmp_path):
    """A place in memory stands for the output: `shown` is what is compared."""
    place = Store(f"memory://{uuid.uuid4().hex}")
    claimed = claim(place, Small, config(), "d", ["/z", source], shown=output)
    if refused:
        message = re.escape(f"the output {output} and the input {source} overlap. Choose another output.")
        with pytest.raises(UsageError, match=message), claimed:
            pass
        assert place.list() == []
    else:
        with claimed as held:
            assert held.url == output
            assert [found.key for found in place.list()] == [CLAIM]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_stage_that_fails_before_it_writes_gives_its_claim_back(url, error):
    with pytest.raises(error), claim(Store(url), Small, config(), "abc"):
        raise error
    assert keys(url) == []
    finish(url)


def test_a_stage_that_fails_later_keeps_its_claim(url):
    begin(url)
    assert keys(url) == ["centers/zarr.json", CLAIM]


@pytest.mark.parametrize("again", [{"resume": True}, {"overwrite": True}], ids=["resume", "overwrite"])
def test_a_later_run_that_fails_before_anything_is_written_gives_all_claims_back(url, start, again):
    start(url)
    with pytest.raises(ValueError, match="again"), claim(Store(url), Small, config(**again), "abc") as held:  # noqa: PT012
        assert keys(url) == ["claim/2/zarr.json", CLAIM]
        assert held.number == 2
        raise ValueError("again")
    assert keys(url) == []
    finish(url)


def test_a_resumed_run_that_fails_at_once_leaves_all_as_it_was(url):
    for before, claimed in ((begin, ["claim/2/zarr.json"]), (finish, [])):
        Store(url).delete(keys(url))
        before(url)
        found = contents(url)
        with pytest.raises(ValueError, match="again"), claim(Store(url), Small, config(resume=True), "abc"):
            raise ValueError("again")
        left = contents(url)
        assert sorted(left.keys() - found.keys()) == claimed
        assert {key: left[key] for key in found} == found


def test_overwrite_claims_first_and_then_deletes_beginning_with_the_manifest(url, monkeypatch):
    finish(url)
    deleted = []
    really = Store.delete

    def delete(where, names):
        assert [token["config"]["seed"] for token in tokens(url)] == [0, 5]
        deleted.extend(names)
        really(where, names)

    monkeypatch.setattr(Store, "delete", delete)
    with claim(Store(url), Small, config(overwrite=True, seed=5), "abc") as held:
        assert deleted[0] == ROOT
        assert sorted(deleted) == ["centers/c/0", "centers/zarr.json", ROOT]
        held.commit(n_iter=8)
    assert read_manifest(Store(url), Small).n_iter == 8
    assert keys(url) == ["claim/2/zarr.json", CLAIM, ROOT]


@pytest.mark.parametrize("before", [begin, finish])
@pytest.mark.parametrize("n_deleted", range(4))
def test_an_overwrite_that_died_while_it_deleted_leaves_nothing_to_a_resumed_run(
    url, start, monkeypatch, before, n_deleted
):
    """What is left was made by another config: none of it may end up in the new output."""
    before(url, seed=1)
    with monkeypatch.context() as patched, suppress(Crash):
        really, left = obstore.delete, list(range(n_deleted))

        def delete(*given):
            if not left:
                raise Crash
            left.pop()
            really(*given)

        patched.setattr(obstore, "delete", delete)
        start(url, overwrite=True, seed=2)
    if before is finish and n_deleted == 0:
        assert read_manifest(Store(url), Small).config["seed"] == 1
        with (
            pytest.raises(UsageError, match="begun with seed = 1, found 2"),
            claim(Store(url), Small, config(resume=True, seed=2), "abc"),
        ):
            pass
        return
    with claim(Store(url), Small, config(resume=True, seed=2), "abc") as held:
        assert isinstance(held, Claim)
        assert [key for key in keys(url) if not key.startswith("claim/")] == []


def test_the_second_to_commit_is_refused(url):
    with claim(Store(url), Small, config(), "abc") as held:
        held.commit(n_iter=1)
        with pytest.raises(OutputExistsError, match="another run has committed this output meanwhile"):
            held.commit(n_iter=2)
    assert read_manifest(Store(url), Small).n_iter == 1


def test_of_racing_claims_exactly_one_wins(url):
    n_runs = 6
    for attempt in range(5):
        place = f"{url}/{attempt}"
        start, written = threading.Barrier(n_runs), threading.Barrier(n_runs)
        outcomes = []

        def run(place=place, start=start, written=written, outcomes=outcomes):
            start.wait()
            try:
                with claim(Store(place), Small, config(), "abc") as held:
                    written.wait()
                    held.commit()
                outcomes.append("won")
            except OutputUnfinishedError:
                outcomes.append("refused")
                written.wait()

        threads = [threading.Thread(target=run) for _ in range(n_runs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == ["refused"] * (n_runs - 1) + ["won"]
        assert read_manifest(Store(place), Small).kind == "small"


# Several runs at a time


def together(n_runs, monkeypatch, function):
    """`function` in several threads; all of them have looked around before the first of them claims."""
    looked = threading.Barrier(n_runs, timeout=20)
    create = Store.create

    def create_object(store, key, data):
        if key.startswith("claim/"):
            looked.wait()
        return create(store, key, data)

    monkeypatch.setattr(Store, "create", create_object)
    outcomes = []

    def run():
        try:
            outcomes.append(function())
        except Exception as error:
            outcomes.append(error)

    threads = [threading.Thread(target=run) for _ in range(n_runs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


@pytest.mark.parametrize("n_runs", [2, 6])
@pytest.mark.parametrize("again", [{"resume": True}, {"overwrite": True}], ids=["resume", "overwrite"])
def test_of_runs_that_take_over_together_exactly_one_goes_on(url, monkeypatch, n_runs, again):
    begin(url)

    def run():
        with claim(Store(url), Small, config(**again), "abc") as held:
            held.commit(n_iter=5)
        return held

    outcomes = together(n_runs, monkeypatch, run)
    (won,) = [outcome for outcome in outcomes if isinstance(outcome, Claim)]
    refused = [outcome for outcome in outcomes if outcome is not won]
    assert [type(error) for error in refused] == [OutputTakenError] * (n_runs - 1)
    assert {error.exit_code for error in refused} == {2}
    assert read_manifest(Store(url), Small).run == won.run == tokens(url)[1]["run"]
    assert keys(url)[-1] == ROOT
    assert len(tokens(url)) == 2
    assert ("centers/zarr.json" in keys(url)) == ("resume" in again)


@pytest.mark.parametrize("again", [{"resume": True}, {"overwrite": True}], ids=["resume", "overwrite"])
def test_of_runs_that_take_over_one_after_the_other_the_last_goes_on(url, start, again):
    begin(url)
    runs = [start(url, **again) for _ in range(4)]
    for held in runs[:-1]:
        with pytest.raises(OutputTakenError):
            held.commit()
    runs[-1].commit(n_iter=9)
    assert read_manifest(Store(url), Small).run == runs[-1].run


def pixels_of(url):
    arrays.create_array(Store(url), "pixels", shape=(10, 3), dtype=np.uint8, chunks=(2, 3), shards=(4, 3))


WRITES = {
    "write_rows": lambda held: held.write_rows("pixels", 4, np.ones((4, 3), np.uint8)),
    "write_rows again": lambda held: held.write_rows("pixels", 0, np.ones((4, 3), np.uint8)),
    "discard": lambda held: held.discard("pixels"),
    "commit_group": lambda held: held.commit_group("images"),
    "commit": lambda held: held.commit(n_iter=1),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize(
    "again", [{"resume": True}, {"overwrite": True}, {"overwrite": True, "seed": 4}], ids=lambda o: str([*o])
)
def test_a_live_run_that_is_taken_over_stops_at_its_next_write(url, start, write, again):
    old = start(url)
    pixels_of(url)
    old.write_rows("pixels", 0, np.zeros((4, 3), np.uint8))
    new = start(url, **again)
    pixels_of(url)
    new.write_rows("pixels", 0, np.full((4, 3), 7, np.uint8))
    found = contents(url)
    with pytest.raises(OutputTakenError) as caught:
        write(old)
    assert caught.value.exit_code == 2
    assert re.search(rf"a run on {socket.gethostname()}, begun .*, has taken over", str(caught.value))
    assert contents(url) == found
    new.commit(n_iter=2)
    with pytest.raises(OutputTakenError):
        write(old)
    assert arrays.read_rows(Store(url), "pixels", 0, 4).tolist() == [[7] * 3] * 4
    assert read_manifest(Store(url), Small).run == new.run


def test_a_run_that_was_taken_over_takes_nothing_with_it(url, start):
    """Its error passes through its own context, which gives back only what is its own."""
    with pytest.raises(OutputTakenError), claim(Store(url), Small, config(), "abc") as old:  # noqa: PT012
        new = start(url, resume=True)
        found = contents(url)
        old.write_rows("pixels", 0, np.zeros((4, 3), np.uint8))
    assert contents(url) == found
    new.commit()
    assert read_manifest(Store(url), Small).run == new.run


def test_a_run_does_not_give_back_the_claim_of_another_with_its_number(url, start):
    with pytest.raises(OutputTakenError), claim(Store(url), Small, config(), "abc") as old:  # noqa: PT012
        with (
            pytest.raises(ValueError, match="no workers"),
            claim(Store(url), Small, config(resume=True), "abc"),
        ):
            raise ValueError("no workers")
        third = start(url)
        assert third.number == old.number == 1
        found = contents(url)
        old.commit()
    assert contents(url) == found
    third.commit()


def test_giving_back_spares_a_claim_that_came_meanwhile(url, start, monkeypatch):
    start(url)
    later = []
    delete = Store.delete

    def delete_objects(where, names):
        if not later:
            later.append(None)
            later[0] = start(url, resume=True)
        delete(where, names)

    monkeypatch.setattr(Store, "delete", delete_objects)
    with pytest.raises(ValueError, match="again"), claim(Store(url), Small, config(resume=True), "abc"):
        raise ValueError("again")
    assert later[0].number == 3
    assert tokens(url)[-1]["run"] == later[0].run
    later[0].check()
    with pytest.raises(InputError, match="is unfinished"):
        read_manifest(Store(url), Small)
    later[0].commit()
    assert read_manifest(Store(url), Small).run == later[0].run


def before_it_claims(monkeypatch, act):
    """Do something between the look of the next run and its claim."""
    create = Store.create
    left = [act]

    def create_object(store, key, data):
        if key.startswith("claim/") and left:
            left.pop()()
        return create(store, key, data)

    monkeypatch.setattr(Store, "create", create_object)


def test_overwrite_deletes_what_the_older_run_wrote_until_it_was_claimed(url, start, monkeypatch):
    old = start(url)
    pixels_of(url)
    before_it_claims(monkeypatch, lambda: old.write_rows("pixels", 0, np.ones((4, 3), np.uint8)))
    new = start(url, overwrite=True, seed=4)
    assert keys(url) == ["claim/2/zarr.json", CLAIM]
    new.commit()


def test_a_resumed_run_finds_what_the_older_run_committed_until_it_was_claimed(url, start, monkeypatch):
    old = start(url)
    before_it_claims(monkeypatch, lambda: old.commit(n_iter=3))
    new = start(url, resume=True)
    assert new == Finished(Store(url), read_manifest(Store(url), Small))
    assert new.manifest.run == old.run


@pytest.mark.parametrize("seed", [0, 4])
def test_overwrite_deletes_what_the_older_run_committed_until_it_was_claimed(url, start, monkeypatch, seed):
    old = start(url)
    before_it_claims(monkeypatch, lambda: old.commit(n_iter=3))
    new = start(url, overwrite=True, seed=seed)
    with pytest.raises(InputError, match="is unfinished"):
        read_manifest(Store(url), Small)
    new.commit(n_iter=4)
    assert read_manifest(Store(url), Small).n_iter == 4


@pytest.mark.parametrize("options", [{}, {"seed": 4}])
def test_a_stale_claim_is_refused_without_resume(url, start, options):
    start(url)
    start(url, resume=True)
    found = contents(url)
    with pytest.raises(OutputUnfinishedError, match=r"is dead, continue it with --resume; --overwrite"):
        start(url, **options)
    assert contents(url) == found


def test_the_newest_claim_says_what_can_be_resumed(url, start):
    start(url, seed=1)
    start(url, overwrite=True, seed=2)
    with pytest.raises(UsageError, match="begun with seed = 2, found 1 now"):
        start(url, resume=True, seed=1)
    assert start(url, resume=True, seed=2).number == 3


def test_claims_are_numbered_beyond_nine(url, start):
    runs = [start(url, resume=True) for _ in range(12)]
    assert [held.number for held in runs] == list(range(1, 13))
    assert claim_numbers(keys(url)) == list(range(1, 13))
    for held in runs[:-1]:
        with pytest.raises(OutputTakenError):
            held.check()
    runs[-1].check()


@pytest.mark.parametrize(
    ("found", "numbers"),
    [
        ([], []),
        ([CLAIM], [1]),
        (["claim/10/zarr.json", "claim/2/zarr.json", CLAIM], [1, 2, 10]),
        (["claim/2/c/0", "claim/x/zarr.json", "claims/zarr.json", "a/claim/zarr.json", ROOT], []),
    ],
)
def test_claim_numbers(found, numbers):
    assert claim_numbers(found) == numbers
    assert [claim_key(number) for number in numbers] == sorted(
        found, key=lambda key: claim_numbers([key])
    ) or not numbers


class Story:
    """Runs that come, write, die and fail at one place, beside a model of what may be there after each."""

    def __init__(self, url):
        self.url = url
        self.alive = []  # (context, claim, seed)
        self.claimed = []  # names of the runs, oldest first
        self.shards = {}  # number: value
        self.seed = self.manifest = None
        self.kept = []  # contexts of killed runs, which are never closed

    def play(self, action, which, number):
        if action in ("plain", "resume", "overwrite"):
            self.start(action, seed=which % 2)
        elif self.alive:
            getattr(self, action)(self.alive[which % len(self.alive)], number)
        self.compare()

    def refusal(self, how, seed):
        if how == "overwrite" or not self.claimed:
            return None
        if how == "plain":
            return OutputExistsError if self.manifest else OutputUnfinishedError
        return None if seed == self.seed else UsageError

    def start(self, how, seed):
        context = claim(
            Store(self.url), Small, config(seed=seed, **({how: True} if how != "plain" else {})), "abc"
        )
        if refusal := self.refusal(how, seed):
            with pytest.raises(refusal) as caught:
                context.__enter__()
            assert type(caught.value) is refusal
            return
        held = context.__enter__()
        assert (isinstance(held, Finished)) == (how == "resume" and self.manifest is not None)
        if isinstance(held, Finished):
            self.kept.append(context)
            return
        self.alive.append((context, held, seed))
        self.claimed.append(held.run)
        self.seed = seed
        if how == "overwrite":
            self.shards, self.manifest = {}, None

    def attempt(self, run, act):
        """Whether a write of a run was allowed; it is over if not, and so it is by the model."""
        context, held, _ = run
        if self.claimed[-1:] == [held.run]:
            act(held)
            return True
        with pytest.raises(OutputTakenError) as caught:
            act(held)
        self.alive.remove(run)
        assert not context.__exit__(OutputTakenError, caught.value, None)
        return False

    def write(self, run, number):
        value = run[2] + 1

        def act(held):
            held.check()
            pixels_of(held.url)
            held.write_rows("pixels", 4 * number, np.full((4 if number < 2 else 2, 3), value, np.uint8))

        if self.attempt(run, act):
            self.shards[number] = value

    def discard(self, run, _):
        if self.attempt(run, lambda held: held.discard("pixels")):
            self.shards = {}

    def commit(self, run, _):
        if self.attempt(run, lambda held: held.commit(n_iter=1)):
            self.manifest = run[1].run
            self.alive.remove(run)
            run[0].__exit__(None, None, None)

    def kill(self, run, _):
        self.alive.remove(run)
        self.kept.append(run[0])

    def fail(self, run, _):
        self.alive.remove(run)
        error = ValueError("of its own")
        assert not run[0].__exit__(ValueError, error, None)
        if self.claimed[-1:] == [run[1].run] and not self.shards and not self.manifest:
            self.claimed = []

    def compare(self):
        assert [token["run"] for token in tokens(self.url)] == self.claimed
        manifest = attributes_of(Store(self.url), ROOT)
        assert (manifest or {}).get("run") == self.manifest
        if manifest:
            assert manifest["config"] == tokens(self.url)[-1]["config"]
        found = arrays.finished_shards(Store(self.url), "pixels")
        assert found == set(self.shards)
        for number in found:
            rows = arrays.read_rows(Store(self.url), "pixels", 4 * number, min(4 * number + 4, 10))
            assert np.unique(rows).tolist() == [self.shards[number]]


ACTIONS = ["plain", "resume", "overwrite", "write", "discard", "commit", "kill", "fail"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(ACTIONS), st.integers(0, 3), st.integers(0, 2)), min_size=2, max_size=14
    )
)
def test_whatever_runs_do_the_place_is_as_the_model_says(url, steps):
    story = Story(f"{url}/{uuid.uuid4().hex}")
    for step in steps:
        story.play(*step)


# Crashes


def write_small(url, **options):
    """Two arrays, one of them in shards, a group, and the manifest."""
    with claim(Store(url), Small, config(**options), "abc") as held:
        if isinstance(held, Finished):
            return
        rows = np.arange(30, dtype=np.uint8).reshape(10, 3)
        rows[4:8] = 0  # a shard of zeros is a shard
        arrays.create_array(Store(url), "rows", shape=(10, 3), dtype=np.uint8, chunks=(2, 3), shards=(4, 3))
        done = arrays.finished_shards(Store(url), "rows")
        for shard, start in enumerate(range(0, 10, 4)):
            if shard not in done:
                arrays.write_rows(Store(url), "rows", start, rows[start : start + 4])
        if not held.has_group("images"):
            arrays.create_array(Store(url), "images/height", shape=(3,), dtype=np.int32)[:] = [1, 2, 3]
            held.commit_group("images")
        held.commit(n_iter=7)


class Puts:
    """Counts the PUTs of objects, ours and those of Zarr, and crashes at one of them."""

    def __init__(self, monkeypatch, crash_at=None, *, before=True):
        self.count, self.crash_at, self.before = 0, crash_at, before
        self.dead = False
        put, put_async = obstore.put, obstore.put_async

        def counted(*args, **kwargs):
            self.crash_if(True)
            result = put(*args, **kwargs)
            self.crash_if(False)
            return result

        async def counted_async(*args, **kwargs):
            self.crash_if(True)
            result = await put_async(*args, **kwargs)
            self.crash_if(False)
            return result

        monkeypatch.setattr(obstore, "put", counted)
        monkeypatch.setattr(obstore, "put_async", counted_async)

    def crash_if(self, before):
        if before:
            self.count += 1
        if self.before == before and self.count == self.crash_at:
            self.dead = True
            raise Crash


N_PUTS = 9  # claim, rows, three shards, height, its chunk, images, manifest


def test_the_number_of_puts_is_known(monkeypatch, url):
    puts = Puts(monkeypatch)
    write_small(url)
    assert puts.count == N_PUTS


@pytest.mark.parametrize("cleaned_up", [True, False], ids=["exception", "killed"])
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("crash_at", range(1, N_PUTS + 1))
def test_a_crash_at_any_put_shows_nothing_and_can_be_resumed(
    tmp_path, monkeypatch, crash_at, before, cleaned_up
):
    url, undisturbed = str(tmp_path / "book"), str(tmp_path / "undisturbed")
    write_small(undisturbed)
    with monkeypatch.context() as patched:
        puts = Puts(patched, crash_at, before=before)
        if not cleaned_up:  # a killed process does not even give its claim back

            def list_objects(*given, really=Store.list):
                if puts.dead:
                    raise Crash
                return really(*given)

            patched.setattr(Store, "list", list_objects)
        with pytest.raises(Crash):
            write_small(url)
    committed = crash_at == N_PUTS and not before
    if committed:  # the manifest is in place: the artefact is complete, whatever came after
        assert read_manifest(Store(url), Small).n_iter == 7
    else:
        with pytest.raises(InputError, match=r"is unfinished|nothing is there"):
            read_manifest(Store(url), Small)
        with pytest.raises(FileNotFoundError):
            zarr.open_group(url, mode="r")
        began = crash_at > 1 or not before
        # Given back by a stage that has written nothing; not if the answer to the claim itself was lost.
        given_back = cleaned_up and (crash_at, before) == (2, True)
        assert Store(url).exists(CLAIM) == (began and not given_back)
    n_claims = len(tokens(url))
    # Without --resume a run that left anything is refused; with it, it goes on.
    if keys(url):
        with pytest.raises(OutputExistsError if committed else OutputUnfinishedError):
            write_small(url)
    write_small(url, resume=True)
    assert without_runs(url) == without_runs(undisturbed)
    assert len(tokens(url)) == n_claims + (not committed)
    assert [anonymous(token) for token in tokens(url)] == len(tokens(url)) * [anonymous(*tokens(undisturbed))]
    assert read_manifest(Store(url), Small).run == tokens(url)[-1]["run"]
    assert not list(Path(url).rglob("*#*"))  # no staged part of an object is left
    group = zarr.open_group(url, mode="r")
    assert group["rows"][:].sum() == sum(range(30)) - sum(range(12, 24))


@pytest.mark.parametrize("crash_at", range(1, N_PUTS + 1))
def test_resume_repeats_no_shard_that_is_there(tmp_path, monkeypatch, crash_at):
    url = str(tmp_path / "book")
    with monkeypatch.context() as patched:
        Puts(patched, crash_at)
        with pytest.raises(Crash):
            write_small(url)
    shards = {key: path_of(url, key).stat().st_ino for key in keys(url) if "rows/c/" in key}
    assert len(shards) == min(max(crash_at - 3, 0), 3)
    write_small(url, resume=True)
    assert (
        shards.items()
        <= {key: path_of(url, key).stat().st_ino for key in keys(url) if "rows/c/" in key}.items()
    )


def path_of(url, key):
    return Path(url) / key


def test_overwrite_spares_what_others_have_put_beside(tmp_path):
    url = str(tmp_path / "a")
    finish(url)
    Store(url).put("notes/mine.txt", b"years of work")
    found = contents(url)
    with (
        pytest.raises(UsageError, match=r"also holds notes/mine\.txt"),
        claim(Store(url), Small, config(overwrite=True), "x"),
    ):
        pass
    assert contents(url) == found


def test_overwrite_knows_all_that_the_kind_writes(url):
    finish(url)
    for key in ("checkpoint.npz", "images/zarr.json", "pixels/c/0", "rows/c/0/0"):
        Store(url).put(key, b"x")
    with claim(Store(url), Small, config(overwrite=True), "abc"):
        assert keys(url) == ["claim/2/zarr.json", CLAIM]


class Other(Manifest):
    """Another kind, with an array of its own."""

    kind: Literal["other"] = "other"
    names: ClassVar[tuple[str, ...]] = ("codes",)


@pytest.mark.parametrize("committed", [True, False], ids=["finished", "unfinished"])
def test_overwrite_knows_what_a_run_of_another_kind_has_written(url, committed):
    """By its manifest, and by its claim: an array of which no shard is listed anywhere."""
    with suppress(Crash), claim(Store(url), Other, config(), "abc") as held:
        held.write_array("codes", np.arange(3))
        if committed:
            held.commit()
        raise Crash
    assert "codes/zarr.json" in keys(url)
    with claim(Store(url), Small, config(overwrite=True), "abc"):
        assert keys(url) == ["claim/2/zarr.json", CLAIM]


def test_overwrite_knows_what_an_older_dkmeans_has_begun(url):
    """Claims of format version 2 do not tell the names of their arrays."""
    begin(url)
    node = json.loads(Store(url).get(CLAIM))
    del node["attributes"]["dkmeans"]["names"]
    Store(url).put(CLAIM, json.dumps(node).encode())
    Store(url).put("colors/zarr.json", b"{}")
    Store(url).put("colors/c/0", b"x")
    with claim(Store(url), Small, config(overwrite=True), "abc"):
        assert keys(url) == ["claim/2/zarr.json", CLAIM]


# What is complete but not whole


def test_a_finished_output_that_is_not_whole_is_gone_on_with(url):
    finish(url)
    found = contents(url)
    seen = []

    def is_whole(manifest):
        seen.append(manifest)
        return False

    with claim(Store(url), Small, config(resume=True), "abc", terms=Terms(is_whole=is_whole)) as held:
        assert isinstance(held, Claim)
        assert held.number == 2
        assert contents(url).keys() == found.keys() - {ROOT} | {"claim/2/zarr.json"}
        assert len(seen) == 1
        held.commit(n_iter=8)
    assert seen[0].n_iter == 7
    assert read_manifest(Store(url), Small).n_iter == 8


def test_without_resume_nobody_asks_whether_it_is_whole(url):
    finish(url)
    found = contents(url)
    with (
        pytest.raises(OutputExistsError),
        claim(Store(url), Small, config(), "abc", terms=Terms(is_whole=lambda _: False)),
    ):
        pass
    assert contents(url) == found


# An input that changes


def state(name, **terms):
    return Terms(input_state=name, **terms)


@pytest.mark.parametrize("before", [begin, finish])
def test_an_input_of_another_state_is_refused_made_anew_or_followed(url, before):
    before(url)  # of an input of which no state was told
    found = contents(url)
    with pytest.raises(UsageError, match="begun from another input, or the input has changed since"):  # noqa: SIM117
        with claim(Store(url), Small, config(resume=True), "abc", terms=state("now")):
            pass
    assert contents(url) == found
    complete = "complete" if ROOT in found else "unfinished"
    with claim(Store(url), Small, config(resume=True), "abc", terms=state("now", changed="follow")) as held:
        assert held.before == complete
        assert keys(url) == sorted({*found, "claim/2/zarr.json"} - {ROOT})
    cleared = []
    terms = state("later", changed="anew", clear=lambda: cleared.append(keys(url)))
    with claim(Store(url), Small, config(resume=True), "abc", terms=terms) as held:
        assert held.before == "other"
        assert keys(url) == ["claim/2/zarr.json", "claim/3/zarr.json", CLAIM]
    assert ROOT not in cleared[0]
    assert "centers/zarr.json" in cleared[0]  # what belongs to it goes before what tells of that


def test_with_updates_other_options_are_no_obstacle(url):
    finish(url)
    with (
        pytest.raises(UsageError, match="begun with seed = 0, found 5 now"),
        claim(Store(url), Small, config(resume=True, seed=5), "abc", terms=Terms(changed="follow")),
    ):
        pass
    with claim(Store(url), Small, config(seed=5), "xyz", terms=Terms(changed="follow", updates=True)) as held:
        assert (held.number, held.before) == (2, "complete")
        with pytest.raises(InputError, match="unfinished"):
            read_manifest(Store(url), Small)
        held.commit(n_iter=8)
    with claim(Store(url), Small, config(seed=5), "xyz", terms=Terms(updates=True)) as held:
        assert isinstance(held, Finished)


def test_every_url_that_is_claimed_is_noted(url):
    urls: list[str] = []
    with claims.noted(urls):
        finish(url)
        with pytest.raises(OutputExistsError), claim(Store(url), Small, config(), "abc", shown="elsewhere"):
            pass
    finish(f"{url}/other")
    assert urls == [url, "elsewhere"]


# Outputs that are added to


def adds(url, **terms):
    return Terms(updates=True, adds=True, base=committed(Store(url)), **terms)


def test_a_complete_output_stays_until_it_is_withdrawn(url):
    finish(url)
    found = contents(url)
    with pytest.raises(RuntimeError), claim(Store(url), Small, config(), "more", terms=adds(url)) as held:  # noqa: PT012
        assert (held.before, held.number) == ("complete", 2)
        assert read_manifest(Store(url), Small).n_iter == 7
        raise RuntimeError("nothing was changed")
    assert contents(url) == found
    with claim(Store(url), Small, config(), "more", terms=adds(url)) as held:
        held.withdraw()
        with pytest.raises(InputError, match="unfinished"):
            read_manifest(Store(url), Small)
        held.begun()
        held.commit(n_iter=8)
    assert read_manifest(Store(url), Small).n_iter == 8


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("again", ["more", "most"])
def test_a_later_run_finds_what_was_added_to(url, begun, again):
    finish(url)
    base = committed(Store(url))
    with pytest.raises(Crash), claim(Store(url), Small, config(), "more", terms=adds(url)) as held:  # noqa: PT012
        held.withdraw()
        if begun:
            held.begun()
        raise Crash
    assert committed(Store(url)) == base
    with claim(Store(url), Small, config(), again, terms=adds(url)) as held:
        assert held.before == ("unfinished" if begun and again == "more" else "changed")
        assert held.base == base
        assert held.recorded["input_digest"] == again
        held.commit(n_iter=9)
    assert committed(Store(url))["n_iter"] == 9


def test_nothing_was_ever_committed(url):
    assert committed(Store(url)) is None
    begin(url)
    assert committed(Store(url)) is None


def test_another_spelling_of_a_path_is_the_same_run(tmp_path, monkeypatch):
    """Whatever the folder that it is run from; earlier versions recorded relative paths as they were."""
    monkeypatch.chdir(tmp_path)
    relative = {"config": config().recorded()}  # of an earlier version
    assert relative["config"]["dataset"] == "data"
    now = {"config": recorded_options(config())}
    assert now["config"]["dataset"] == str(tmp_path / "data")
    for found in (relative, now):
        for dataset in ("data", f"{tmp_path}/data/", f"file://{tmp_path}/data"):
            same = {"config": recorded_options(config(dataset=dataset))}
            assert refusals.changed_option(found, same) is None
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert refusals.changed_option(now, {"config": recorded_options(config())}) == "dataset"
