"""An output is visible whole or not at all: claim, crash, resume, commit."""

import json
import re
import threading
import uuid
from pathlib import Path

import numpy as np
import obstore
import pytest
import zarr

from dkmeans import arrays, artefact, storage
from dkmeans.artefact import claim, describe, digest, read_manifest
from dkmeans.config import CompressConfig, FitConfig
from dkmeans.errors import InputError, OutputExistsError, OutputUnfinishedError, UsageError

CLAIM, ROOT = "claim/zarr.json", "zarr.json"


@pytest.fixture(params=["local", "memory"])
def url(request, tmp_path):
    """A place where nothing is yet."""
    return str(tmp_path / "book") if request.param == "local" else f"memory://{uuid.uuid4().hex}/book"


def config(**options):
    return FitConfig(**{"dataset": "data", "codebook": "book", "k": 3, **options})


def keys(url):
    return [found.key for found in storage.list_objects(url)]


def contents(url):
    return {key: storage.read_object(url, key) for key in keys(url)}


def finish(url, facts=None, **options):
    """A small complete artefact."""
    with claim(url, "codebook", config(**options), "abc") as held:
        arrays.create_array(url, "centers", shape=(2,), dtype=np.float32)[:] = [1, 2]
        held.commit(facts or {"n_iter": 7})


def begin(url, **options):
    """An artefact whose run was lost after its first array."""
    with pytest.raises(RuntimeError, match="power cut"), claim(url, "codebook", config(**options), "abc"):  # noqa: PT012
        arrays.create_array(url, "centers", shape=(2,), dtype=np.float32)
        raise RuntimeError("power cut")


def test_digest_depends_on_every_part_and_its_borders():
    digests = {digest(parts) for parts in (["ab"], ["a", "b"], ["b", "a"], ["a", "b", ""], [])}
    assert len(digests) == 5
    assert digest(["a", "é"]) == digest(["a", "é"])
    assert re.fullmatch("[0-9a-f]{64}", digest([]))


# From claim to commit


def test_the_manifest_says_what_made_it(url):
    finish(url, {"n_iter": 7, "inertia": 0.5})
    manifest = read_manifest(url, "codebook")
    versions = manifest.pop("versions")
    assert versions["numpy"] == np.__version__
    assert set(versions) == {"dkmeans", "numpy", "numba", "zarr", "dask", "dask-ml", "scikit-learn"}
    assert manifest == {
        "format_version": artefact.FORMAT_VERSION,
        "kind": "codebook",
        "config": config().recorded(),
        "input_digest": "abc",
        "n_iter": 7,
        "inertia": 0.5,
    }
    assert read_manifest(url) == read_manifest(url, "codebook")


def test_the_claim_is_there_before_anything_else_and_the_manifest_after(url):
    with claim(url, "codebook", config(), "abc") as held:
        assert keys(url) == [CLAIM]
        token = json.loads(storage.read_object(url, CLAIM))["attributes"]["dkmeans"]
        assert (token["kind"], token["input_digest"]) == ("codebook", "abc")
        assert token["config"] == config().recorded()
        assert held.finished is None
        with pytest.raises(InputError, match="is unfinished"):
            read_manifest(url)
        held.commit({})
        assert keys(url) == [CLAIM, ROOT]
    assert read_manifest(url)["kind"] == "codebook"


def test_groups_are_marked_and_discarded(url):
    with claim(url, "codebook", config(), "abc") as held:
        for name in ("images", "images2"):
            assert not held.has_group(name)
            arrays.create_array(url, f"{name}/height", shape=(2,), dtype=np.int32)[:] = [1, 2]
            assert not held.has_group(name)
            held.commit_group(name)
            assert held.has_group(name)
        held.discard("images")
        held.discard("never there")
        assert not held.has_group("images")
        assert held.has_group("images2")
        assert [key for key in keys(url) if key.startswith("images/")] == []
        held.commit({})


def test_discard_takes_the_mark_away_first(url, monkeypatch):
    with claim(url, "codebook", config(), "abc") as held:
        arrays.create_array(url, "images/a", shape=(2,), dtype=np.int32)[:] = [1, 2]
        held.commit_group("images")
        deleted = []
        monkeypatch.setattr(storage, "delete_objects", lambda _, names: deleted.extend(names))
        held.discard("images")
        assert deleted[0] == "images/zarr.json"
        assert sorted(deleted) == [key for key in keys(url) if key.startswith("images/")]


def test_a_finished_artefact_is_plain_zarr(tmp_path):
    url = str(tmp_path / "book")
    with claim(url, "codebook", config(), "abc") as held:
        arrays.create_array(url, "centers", shape=(2,), dtype=np.float32)[:] = [1, 2]
        arrays.create_array(url, "images/height", shape=(1,), dtype=np.int32)[:] = [9]
        held.commit_group("images")
        held.commit({"n_iter": 7})
    group = zarr.open_group(url, mode="r")  # warnings are errors
    assert sorted(name for name, _ in group.arrays()) == ["centers"]
    assert sorted(name for name, _ in group.groups()) == ["claim", "images"]
    assert group["centers"][:].tolist() == [1, 2]
    assert group["images/height"][:].tolist() == [9]
    assert group.attrs["dkmeans"]["n_iter"] == 7
    assert len(list(group.members(max_depth=None))) == 4


def test_describe(url):
    with claim(url, "codebook", config(), "abc") as held:
        arrays.create_array(url, "a", shape=(8, 3), dtype=np.uint8, chunks=(2, 3), shards=(4, 3))
        arrays.create_array(url, "images/b", shape=(5,), dtype=np.int64)
        held.commit_group("images")
        held.commit({"n_iter": 7})
    facts = describe(url)
    assert facts["url"] == url
    assert facts["n_iter"] == 7
    assert facts["arrays"] == {
        "a": {"shape": [8, 3], "dtype": "uint8", "chunks": [2, 3], "shards": [4, 3]},
        "images/b": {"shape": [5], "dtype": "int64", "chunks": [5], "shards": None},
    }
    assert facts["stored_bytes"] == sum(len(data) for data in contents(url).values())


# Who may claim what


def nothing(url):
    pass


def foreign_file(url):
    storage.write_object(url, "notes.txt", b"mine")


def foreign_group(url):
    storage.write_object(url, ROOT, b'{"zarr_format": 3, "node_type": "group", "attributes": {}}')


def foreign_attributes(url):
    storage.write_object(url, ROOT, b'{"zarr_format":3,"node_type":"group","attributes":{"dkmeans":"x"}}')


def broken_root(url):
    storage.write_object(url, ROOT, b'{"zarr_format": 3, ')


def other_config(url):
    begin(url, seed=9)


def other_config_finished(url):
    finish(url, seed=9)


def other_input(url):
    begin(url)
    token = storage.read_object(url, CLAIM).replace(b'"abc"', b'"xyz"')
    storage.write_object(url, CLAIM, token)


NEW, AGAIN, DONE = "claimed anew", "goes on", "finished"
EXISTS = (OutputExistsError, r"is already there; expected a new place\. Choose another, or pass --overwrite")
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
        storage.delete_objects(url, keys(url))
        before(url)
        found = contents(url)
        if isinstance(outcome, tuple):
            kind, message = outcome
            with (
                pytest.raises(kind, match=message) as caught,
                claim(url, "codebook", config(**options), "abc"),
            ):
                pass
            assert type(caught.value) is kind
            assert caught.value.exit_code == 2
            assert contents(url) == found  # a refusal touches nothing
            continue
        with claim(url, "codebook", config(**options), "abc") as held:
            assert held.url == url
            if outcome == NEW:
                assert keys(url) == [CLAIM]
                assert contents(url)[CLAIM] != found.get(CLAIM)
            else:
                assert contents(url) == found
            assert (held.finished is not None) == (outcome == DONE)
            if outcome == DONE:
                assert held.finished == read_manifest(url)


def test_resume_names_another_kind_of_output(url):
    begin(url)
    other = CompressConfig(dataset="data", codebook="book", result="r", resume=True)
    with (
        pytest.raises(UsageError, match="was begun with result = None, found 'r' now"),
        claim(url, "result", other, "abc"),
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
def test_output_and_input_must_not_overlap(monkeypatch, output, source, refused):
    taken = []
    monkeypatch.setattr(artefact, "_take", lambda url, *_: taken.append(url))
    if refused:
        message = re.escape(f"the output {output} and the input {source} overlap. Choose another output.")
        with (
            pytest.raises(UsageError, match=message),
            claim(output, "codebook", config(), "d", ["/z", source]),
        ):
            pass
        assert taken == []
    else:
        with claim(output, "codebook", config(), "d", ["/z", source]):
            assert taken == [output]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_stage_that_fails_before_it_writes_gives_its_claim_back(url, error):
    with pytest.raises(error), claim(url, "codebook", config(), "abc"):
        raise error
    assert keys(url) == []
    finish(url)


def test_a_stage_that_fails_later_keeps_its_claim(url):
    begin(url)
    assert keys(url) == ["centers/zarr.json", CLAIM]


def test_a_resumed_run_that_fails_at_once_leaves_all_as_it_was(url):
    for before in (begin, finish):
        storage.delete_objects(url, keys(url))
        before(url)
        found = contents(url)
        with pytest.raises(ValueError, match="again"), claim(url, "codebook", config(resume=True), "abc"):
            raise ValueError("again")
        assert contents(url) == found


def test_overwrite_hides_the_artefact_first_and_gives_up_its_claim_last(url, monkeypatch):
    finish(url)
    deleted = []
    really = storage.delete_objects

    def delete(where, names):
        deleted.extend(names)
        really(where, names)

    monkeypatch.setattr(storage, "delete_objects", delete)
    with claim(url, "codebook", config(overwrite=True), "abc") as held:
        assert deleted[0] == ROOT
        assert deleted[-1] == CLAIM
        assert len(deleted) == 4
        held.commit({"n_iter": 8})
    assert read_manifest(url)["n_iter"] == 8
    assert keys(url) == [CLAIM, ROOT]


def test_the_second_to_commit_is_refused(url):
    with claim(url, "codebook", config(), "abc") as held:
        held.commit({"n_iter": 1})
        with pytest.raises(OutputExistsError, match="another run has committed this output meanwhile"):
            held.commit({"n_iter": 2})
    assert read_manifest(url)["n_iter"] == 1


def test_of_racing_claims_exactly_one_wins(url):
    n_runs = 6
    for attempt in range(5):
        place = f"{url}/{attempt}"
        start, written = threading.Barrier(n_runs), threading.Barrier(n_runs)
        outcomes = []

        def run(place=place, start=start, written=written, outcomes=outcomes):
            start.wait()
            try:
                with claim(place, "codebook", config(), "abc") as held:
                    written.wait()
                    held.commit({})
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
        assert read_manifest(place)["kind"] == "codebook"


# Reading


def rewrite_root(url, **changes):
    finish(url)
    node = json.loads(storage.read_object(url, ROOT))
    node["attributes"]["dkmeans"].update(changes)
    storage.write_object(url, ROOT, json.dumps(node).encode())


@pytest.mark.parametrize(
    ("before", "kind", "message"),
    [
        (nothing, "dataset", r"nothing is there; expected a dataset of dkmeans\. Check the path\."),
        (nothing, None, r"nothing is there; expected a dataset, codebook or result of dkmeans"),
        (foreign_file, "dataset", r"nothing is there; expected a dataset of dkmeans"),
        (
            begin,
            "codebook",
            r"is unfinished: the run that began it .* Run that command again with --resume\.",
        ),
        (finish, "dataset", r" is a codebook; expected a dataset of dkmeans\."),
        (foreign_group, "codebook", r" is a Zarr group that dkmeans did not write; expected a codebook of"),
        (foreign_group, None, r"did not write; expected a dataset, codebook or result of dkmeans\."),
        (foreign_attributes, "codebook", r" is a Zarr group that dkmeans did not write"),
        (broken_root, "codebook", r" is a Zarr group that dkmeans did not write"),
        (
            lambda url: rewrite_root(url, format_version=99, versions={"dkmeans": "7.1"}),
            "codebook",
            r"has format version 99; this dkmeans reads 1\. Use the version of dkmeans that wrote it: 7\.1\.",
        ),
        (lambda url: rewrite_root(url, format_version=None), "codebook", r"has format version None"),
    ],
)
def test_what_cannot_be_read(url, before, kind, message):
    before(url)
    with pytest.raises(InputError, match=message) as caught:
        read_manifest(url, kind)
    assert caught.value.exit_code == 3
    assert str(caught.value).startswith(url)


# Crashes


class Crash(BaseException):
    """The process is lost: no code of ours catches it by name."""


def write_small(url, **options):
    """Two arrays, one of them in shards, a group, and the manifest."""
    with claim(url, "codebook", config(**options), "abc") as held:
        if held.finished is not None:
            return
        rows = np.arange(30, dtype=np.uint8).reshape(10, 3)
        rows[4:8] = 0  # a shard of zeros is a shard
        arrays.create_array(url, "rows", shape=(10, 3), dtype=np.uint8, chunks=(2, 3), shards=(4, 3))
        done = arrays.finished_shards(url, "rows")
        for shard, start in enumerate(range(0, 10, 4)):
            if shard not in done:
                arrays.write_rows(url, "rows", start, rows[start : start + 4])
        if not held.has_group("images"):
            arrays.create_array(url, "images/height", shape=(3,), dtype=np.int32)[:] = [1, 2, 3]
            held.commit_group("images")
        held.commit({"n_iter": 7})


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


def without_run(contents_of_url):
    """The objects, without what the claim says of its own run."""
    found = dict(contents_of_url)
    token = json.loads(found.pop(CLAIM))["attributes"]["dkmeans"]
    return found, {key: value for key, value in token.items() if key not in ("run", "began")}


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

            def list_objects(*given, really=storage.list_objects):
                if puts.dead:
                    raise Crash
                return really(*given)

            patched.setattr(storage, "list_objects", list_objects)
        with pytest.raises(Crash):
            write_small(url)
    committed = crash_at == N_PUTS and not before
    if committed:  # the manifest is in place: the artefact is complete, whatever came after
        assert read_manifest(url)["n_iter"] == 7
    else:
        with pytest.raises(InputError, match=r"is unfinished|nothing is there"):
            read_manifest(url)
        with pytest.raises(FileNotFoundError):
            zarr.open_group(url, mode="r")
        began = crash_at > 1 or not before
        # Given back by a stage that has written nothing; not if the answer to the claim itself was lost.
        given_back = cleaned_up and (crash_at, before) == (2, True)
        assert storage.exists(url, CLAIM) == (began and not given_back)
    # Without --resume a run that left anything is refused; with it, it goes on.
    if keys(url):
        with pytest.raises(OutputExistsError if committed else OutputUnfinishedError):
            write_small(url)
    write_small(url, resume=True)
    assert without_run(contents(url)) == without_run(contents(undisturbed))
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
    config = FitConfig(dataset="d", codebook=url, n_clusters=2)
    with artefact.claim(url, "codebook", config, "x") as claim:
        claim.commit({})
    storage.write_object(url, "notes/mine.txt", b"years of work")
    again = config.model_copy(update={"overwrite": True})
    with (
        pytest.raises(UsageError, match=r"also holds notes/mine\.txt"),
        artefact.claim(url, "codebook", again, "x"),
    ):
        pass
    assert storage.read_object(url, "notes/mine.txt") == b"years of work"
    assert artefact.read_manifest(url)["kind"] == "codebook"
