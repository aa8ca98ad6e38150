"""The state of a fit on storage: the same bits back, or a ValueError, and then the fit begins anew."""

from __future__ import annotations

import io
import uuid
import zipfile

import numpy as np
import pytest
from artefacts.small import Small, config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dkmeans import ClusterConfig, FitConfig, IngestConfig, fit, ingest, open_codebook
from dkmeans.artefacts import checkpoint
from dkmeans.artefacts.claims import claim
from dkmeans.artefacts.manifests import CHECKPOINT
from dkmeans.clustering.loop import Iteration, State
from dkmeans.errors import OutputTakenError, UsageError
from dkmeans.stages import fit as stage
from dkmeans.storage.store import Store

pytestmark = pytest.mark.filterwarnings("ignore:not converged")

CENTERS = np.array([[0.1, -0.0], [np.pi, 2.0**-30], [255, 1e-3]])
HISTORY = (Iteration(1e300, 0.1, 2**40, 1.25), Iteration(1 / 3, 0.0, 0, 1e-9))


@pytest.fixture
def held(tmp_path):
    """A fit that is under way."""
    with claim(Store(f"memory://{uuid.uuid4().hex}"), Small, config(), "abc") as held:
        yield held


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("history", [(), HISTORY[:1], HISTORY])
@pytest.mark.parametrize("previous", [None, CENTERS[::-1]])
@pytest.mark.parametrize("converged", [False, True])
def test_what_is_saved_comes_back_to_the_bit(held, dtype, history, previous, converged):
    centers = CENTERS.astype(dtype)
    previous = None if previous is None else previous.astype(dtype)
    checkpoint.save(held, State(centers, previous, history, converged))
    state, about = checkpoint.load(held.store)
    assert (state.centers.dtype, state.centers.tobytes()) == (np.dtype(dtype), centers.tobytes())
    assert state.centers.shape == centers.shape
    if previous is None:
        assert state.previous is None
    else:
        assert (state.previous.dtype, state.previous.tobytes()) == (np.dtype(dtype), previous.tobytes())
    assert state.history == history
    assert [type(value) for step in state.history for value in vars(step).values()] == [
        float,
        float,
        int,
        float,
    ] * len(history)
    assert state.converged is converged
    assert about == held.recorded


def test_each_takes_the_place_of_the_one_before_until_it_is_removed(held):
    assert checkpoint.load(held.store) is None
    checkpoint.remove(held.store)  # nothing is there, which is no error
    for n in range(3):
        checkpoint.save(held, State(CENTERS + n, None, HISTORY[:n]))
        assert len(checkpoint.load(held.store)[0].history) == n
    assert [found.key for found in held.store.list()] == [CHECKPOINT, "claim/zarr.json"]
    checkpoint.remove(held.store)
    assert checkpoint.load(held.store) is None
    assert [found.key for found in held.store.list()] == ["claim/zarr.json"]


def test_a_run_that_is_taken_over_saves_nothing(held):
    with claim(held.store, Small, config(resume=True), "abc") as newer:
        checkpoint.save(newer, State(CENTERS, None, HISTORY))
        found = held.store.get(CHECKPOINT)
        with pytest.raises(OutputTakenError):
            checkpoint.save(held, State(CENTERS + 1))
        assert held.store.get(CHECKPOINT) == found


def packed(**changes):
    """A checkpoint as others would write it."""
    about = b'{"config": {}, "input_digest": "abc", "converged": false}'
    columns = {
        "about": np.frombuffer(about, np.uint8),
        "centers": CENTERS,
        "previous": np.zeros(0),
        "history": np.zeros((1, 4)),
    }
    file = io.BytesIO()
    np.savez(file, **{name: value for name, value in (columns | changes).items() if value is not None})
    return file.getvalue()


def plain(values):
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def patched(data, marker, at, value):
    """`data` with one byte changed, `at` bytes behind the first `marker`."""
    data = bytearray(data)
    data[data.index(marker) + at] = value
    return bytes(data)


DIRECTORY = b"PK\x01\x02"
DAMAGED = {
    "empty": b"",
    "not a zip": b"not a checkpoint at all",
    "zeros": bytes(500),
    "a plain array": plain(CENTERS),
    "a pickle": plain(np.array([{}], object)),
    "cut": packed()[:-1],
    "cut in half": packed()[: len(packed()) // 2],
    "pickled centers": packed(centers=np.array([[{}]], object)),
    "pickled about": packed(about=np.array([{}], object)),
    "no history": packed(history=None),
    "other history": packed(history=np.zeros((2, 3))),
    "about is no JSON": packed(about=np.frombuffer(b"{", np.uint8)),
    "about is a list": packed(about=np.frombuffer(b"[]", np.uint8)),
    "about without converged": packed(about=np.frombuffer(b"{}", np.uint8)),
    "a version of zip": patched(packed(), DIRECTORY, 6, 0x6D),
    "an encrypted part": patched(packed(), DIRECTORY, 8, 1),
    "a compression": patched(packed(), DIRECTORY, 10, 99),
    "deflated": patched(packed(), DIRECTORY, 10, zipfile.ZIP_DEFLATED),
    "a bit of the centers": packed().replace(CENTERS.tobytes(), (-CENTERS).tobytes()),
}


def test_what_others_would_write_is_read():
    url = f"memory://{uuid.uuid4().hex}"
    Store(url).put(CHECKPOINT, packed())
    np.testing.assert_array_equal(checkpoint.load(Store(url))[0].centers, CENTERS)


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_checkpoint_is_a_value_error(data):
    url = f"memory://{uuid.uuid4().hex}"
    Store(url).put(CHECKPOINT, data)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        checkpoint.load(Store(url))
    assert str(caught.value).startswith(f"{url}: the checkpoint is damaged: ")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), cut=st.booleans())
def test_wherever_it_is_damaged_no_other_state_comes_back(held, where, bit, cut):
    state = State(CENTERS, CENTERS[::-1], HISTORY, True)
    checkpoint.save(held, state)
    data = bytearray(held.store.get(CHECKPOINT))
    at = int(where * len(data))
    if cut:
        del data[at:]
    else:
        data[at] ^= 1 << bit
    held.store.put(CHECKPOINT, bytes(data))
    try:
        found, about = checkpoint.load(held.store)
    except ValueError:
        return
    assert not cut
    assert about == held.recorded  # a time stamp of the zip, which says nothing
    assert found.centers.tobytes() == state.centers.tobytes()
    assert found.previous.tobytes() == state.previous.tobytes()
    assert (found.history, found.converged) == (state.history, state.converged)


# In a fit


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Four small images."""
    folder = tmp_path_factory.mktemp("inputs")
    np.save(folder / "stack.npy", np.random.default_rng(0).integers(0, 256, (4, 12, 12, 3), dtype=np.uint8))
    config = IngestConfig(source=str(folder / "stack.npy"), dataset=str(folder / "d"))
    ingest(config, ClusterConfig(scheduler="sync"))
    return str(folder / "d")


class Stop(Exception):
    """The run is lost."""


def run(dataset, url, sync, *, stop=None, **options):
    """A fit, from random rows as that takes more iterations; `stop`: it is lost after so many checkpoints."""
    given = {"dataset": dataset, "codebook": str(url), "k": 5, "init": "random", "max_iter": 4, **options}
    config = FitConfig(**given)
    with pytest.MonkeyPatch.context() as patch:
        saved = []

        def save(*given, really=checkpoint.save):
            really(*given)
            saved.append(given[1])
            if len(saved) == stop:
                raise Stop

        patch.setattr(checkpoint, "save", save)
        if stop is None:
            return fit(config, sync)
        with pytest.raises(Stop):
            fit(config, sync)
        return saved[-1]


def seeded(monkeypatch):
    """A list that grows each time seeds are looked for."""
    calls = []
    seed = stage.seed_centers
    monkeypatch.setattr(stage, "seed_centers", lambda *given: calls.append(1) or seed(*given))
    return calls


@pytest.mark.parametrize(
    "name", ["empty", "not a zip", "cut in half", "pickled centers", "an encrypted part"]
)
def test_a_fit_says_that_its_checkpoint_is_damaged_and_begins_anew(
    dataset, tmp_path, sync, monkeypatch, name
):
    whole = run(dataset, tmp_path / "whole", sync)
    url = str(tmp_path / "book")
    run(dataset, url, sync, stop=3)
    Store(url).put(CHECKPOINT, DAMAGED[name])
    seeds = seeded(monkeypatch)
    with pytest.warns(UserWarning, match=r"the checkpoint is damaged: .*; the fit starts again"):
        again = run(dataset, url, sync, resume=True)
    assert len(seeds) == 1
    assert (again.centers_sha256, again.inertia, again.n_iter) == (
        whole.centers_sha256,
        whole.inertia,
        whole.n_iter,
    )
    one, other = (open_codebook(str(tmp_path / name)).history[:, :3] for name in ("whole", "book"))
    np.testing.assert_array_equal(one, other)
    assert not Store(url).exists(CHECKPOINT)


def test_a_whole_checkpoint_is_used(dataset, tmp_path, sync, monkeypatch):
    state = run(dataset, tmp_path / "book", sync, stop=3)
    assert (len(state.history), state.centers.dtype) == (2, np.float32)
    seeds = seeded(monkeypatch)
    run(dataset, tmp_path / "book", sync, resume=True)
    assert seeds == []


@pytest.mark.parametrize("other", [{"seed": 7}, {"k": 6}, {"tol": 0.5}, {"max_iter": 2}])
def test_a_checkpoint_of_another_config_is_not_used(dataset, tmp_path, sync, monkeypatch, other):
    """A run that --overwrite has ended may still put its checkpoint in place."""
    whole = run(dataset, tmp_path / "whole", sync)
    url = str(tmp_path / "book")
    run(dataset, url, sync, stop=2, **other)
    left = Store(url).get(CHECKPOINT)
    run(dataset, url, sync, stop=1, overwrite=True)
    Store(url).put(CHECKPOINT, left)
    seeds = seeded(monkeypatch)
    again = run(dataset, url, sync, resume=True)
    assert len(seeds) == 1
    assert (again.centers_sha256, again.n_iter) == (whole.centers_sha256, whole.n_iter)
    assert not Store(url).exists(CHECKPOINT)


@pytest.mark.parametrize("stop", [2, 4, 6, 8])
def test_a_fit_goes_on_with_the_same_bits_while_steps_are_relaxed_or_not(dataset, tmp_path, sync, stop):
    options = {"max_iter": 9, "tol": 0, "relaxation": 1.5}
    whole = run(dataset, tmp_path / "whole", sync, **options)
    assert (
        whole.centers_sha256
        != run(dataset, tmp_path / "p", sync, **options | {"relaxation": 1}).centers_sha256
    )
    run(dataset, tmp_path / "book", sync, stop=stop, **options)
    again = run(dataset, tmp_path / "book", sync, resume=True, **options)
    names = ("centers_sha256", "inertia", "n_iter", "gain_left")
    assert [getattr(again, name) for name in names] == [getattr(whole, name) for name in names]


def test_a_run_that_had_no_relaxation_goes_on_without(dataset, tmp_path, sync, monkeypatch):
    """And whoever forgets it is told."""
    plain = {"relaxation": 1, "min_gain": 0}
    whole = run(dataset, tmp_path / "whole", sync, **plain)
    with monkeypatch.context() as patch:
        recorded = FitConfig.recorded
        patch.setattr(
            FitConfig,
            "recorded",
            lambda self: {name: value for name, value in recorded(self).items() if name not in plain},
        )
        run(dataset, tmp_path / "book", sync, stop=3, **plain)
    with pytest.raises(UsageError, match=r"begun with min_gain = 0\.0, found 2e-05 now"):
        run(dataset, tmp_path / "book", sync, resume=True)
    seeds = seeded(monkeypatch)
    again = run(dataset, tmp_path / "book", sync, resume=True, **plain)
    assert seeds == []
    assert (again.centers_sha256, again.n_iter) == (whole.centers_sha256, whole.n_iter)


def test_overwrite_does_not_go_on_from_a_checkpoint(dataset, tmp_path, sync, monkeypatch):
    run(dataset, tmp_path / "book", sync, stop=3)
    seeds = seeded(monkeypatch)
    run(dataset, tmp_path / "book", sync, overwrite=True)
    assert len(seeds) == 1


@pytest.mark.parametrize(("seconds", "n_saved"), [(0.0, 5), (3600.0, 1)])
def test_checkpoints_are_as_far_apart_as_asked(dataset, tmp_path, sync, monkeypatch, seconds, n_saved):
    saved = []
    save = checkpoint.save
    monkeypatch.setattr(checkpoint, "save", lambda *given: saved.append(given[1]) or save(*given))
    fit(
        FitConfig(
            dataset=dataset,
            codebook=str(tmp_path / "c"),
            k=5,
            init="random",
            max_iter=4,
            tol=0,
            checkpoint_seconds=seconds,
        ),
        sync,
    )
    assert [len(state.history) for state in saved] == list(range(n_saved))
