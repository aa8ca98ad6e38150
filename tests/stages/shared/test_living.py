"""A folder whatever was done to it: its files are those of the images as they are, and strangers' stay."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dkmeans.artefacts.claims import Finished
from dkmeans.artefacts.files import Wanted, begin_files, claim_folder
from dkmeans.artefacts.folder import HIDDEN, open_folder
from dkmeans.artefacts.former import Record, read_former
from dkmeans.config.stages import QuantizeConfig
from dkmeans.errors import InputError
from dkmeans.stages.shared.files import choose_keys
from dkmeans.storage.store import Store

NAMES = ["a.jpg", "a.png", "a.jpg.png", "A.jpg", "a.png/x.jpg", "b.jpg"]
STRANGER = {"a.txt": b"mine", "deep/b.txt": b"mine too"}


class PowerCut(Exception):
    """Not an error that any code expects."""


class Dying(Store):
    """A store that fails at one of the writes and deletions, and at all behind it."""

    left: list[int] = []  # noqa: RUF012 - one count for all stores of a run

    def count(self):
        self.left[0] -= 1
        if self.left[0] < 0:
            raise PowerCut

    def below(self, key):
        return Dying(self.url_of(key))

    def put(self, key, data):
        self.count()
        super().put(key, data)

    def create(self, key, data):
        self.count()
        return super().create(key, data)

    def delete(self, keys):
        self.count()
        super().delete(keys)


def shown(name, version, k):
    """The bytes of a file: other ones of other images and options."""
    return f"{name} {version} k={k}".encode()


def run(folder, sources, k, copied, *, prune=False, overwrite=False):
    """What quantize does around its pixels; `copied` are the names of images whose files are copied."""
    config = QuantizeConfig(source="in", destination="out", k=k, overwrite=overwrite)
    state = {"input_state": repr(sources), "updates": not overwrite, "prunes": prune}
    with claim_folder(folder, config, "abc", **state) as held:
        if isinstance(held, Finished):
            return
        former = read_former(folder)
        keys = choose_keys(sources, former.given(sources, prunes=prune), copies=True)
        wanted = Wanted(sources, f"k={k} {sorted(copied)}", keys)
        files = begin_files(held, former, wanted, "destination", prunes=prune)
        files.begin()
        made = []
        for number, (name, version) in enumerate(sources.items()):
            if name not in files.kept:
                batch = files.batch(number, [name])
                record = batch.write(0, shown(name, version, k), copied=name in copied)
                made.append(Record({**record.image, "height": 1, "width": 1}, record.check))
                batch.record(made[-1:])
        files.commit(made, source="in", n_images=len(sources), n_pixels=1, image_bytes=1)


SOURCES = st.dictionaries(st.sampled_from(NAMES), st.integers(1, 3).map(str), min_size=1).filter(
    lambda found: not {"a.png", "a.png/x.jpg"} <= found.keys()
)
STEPS = st.tuples(
    SOURCES,
    st.integers(2, 3),
    st.sets(st.sampled_from(NAMES), max_size=2),
    st.sampled_from([{}, {"prune": True}, {"overwrite": True}]),
    st.one_of(st.just(1000), st.integers(0, 25)),
)


def check(folder, sources, k):
    """All that a reader sees is of the images as they are."""
    found = open_folder(folder.url)
    assert found.index.names == tuple(sources)
    assert len(set(found.keys)) == len(sources)
    for key, (name, version) in zip(found.keys, sources.items(), strict=True):
        assert folder.get(key) == shown(name, version, k)


@settings(max_examples=60, deadline=None)
@example(  # the first run leaves a file that no record tells of, and the second one is complete without it
    steps=[
        ({"a.jpg": "1", "a.png": "1"}, 2, set(), {"overwrite": True}, 8),
        ({"a.jpg": "1"}, 2, set(), {}, 1000),
    ]
)
@given(steps=st.lists(STEPS, min_size=1, max_size=5))
def test_whatever_happened_files_are_of_the_images_as_they_are(steps):
    url = f"memory://{uuid.uuid4().hex}/out"
    folder = Store(url)
    for key, data in STRANGER.items():
        folder.put(key, data)
    complete = None
    for sources, k, copied, options, dies in steps:
        Dying.left[:] = [dies]
        before = folder.below(HIDDEN).get_or_none("zarr.json")
        try:
            run(Dying(url), sources, k, copied, **options)
            complete = (sources, k)
        except PowerCut:
            now = folder.below(HIDDEN).get_or_none("zarr.json")
            complete = complete if now == before else (sources, k) if now else None
        if complete is None:
            with pytest.raises(InputError, match=r"unfinished|nothing is there"):
                open_folder(url)
        else:
            check(folder, *complete)
    Dying.left[:] = [1000]
    run(Dying(url), sources, k, copied, prune=True)
    check(folder, sources, k)
    left = {found.key for found in folder.list() if not found.key.startswith(HIDDEN)}
    assert left == {*open_folder(url).keys, *STRANGER}
    assert all(folder.get(key) == data for key, data in STRANGER.items())
