"""Keys of the files of images, and places where they may not go."""

from __future__ import annotations

import unicodedata
from hashlib import sha256

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dkmeans.errors import UsageError
from dkmeans.stages.shared.files import choose_keys, output_keys, refuse_originals
from dkmeans.storage.store import Store


def test_names_that_differ_in_their_suffix_keep_it():
    assert output_keys(["a.jpg", "b/a.jpg", "b/a.tif", "c.tar.png", "UP.png", "up.jpg", "plain"]) == {
        "a.jpg": "a.png",
        "b/a.jpg": "b/a.jpg.png",
        "b/a.tif": "b/a.tif.png",
        "c.tar.png": "c.tar.png",
        "UP.png": "UP.png.png",
        "up.jpg": "up.jpg.png",
        "plain": "plain.png",
    }


@pytest.mark.parametrize(
    ("names", "keys"),
    [
        (["a.jpg", "a.png", "a.jpg.png"], ["a.jpg.png", "a.png.png", "a.jpg.png.png"]),
        (["x.jpg", "x.png/y.jpg"], ["x.jpg.png", "x.png/y.png"]),
        (["X.jpg", "x.png/y.jpg"], ["X.jpg.png", "x.png/y.png"]),
        (["\u00e9.jpg", "e\u0301.webp"], ["\u00e9.jpg.png", "e\u0301.webp.png"]),
        ([".hidden", "a.", "deep/.x.gif"], [".hidden.png", "a..png", "deep/.x.png"]),
    ],
)
def test_names_that_would_share_a_key(names, keys):
    assert output_keys(names) == dict(zip(names, keys, strict=True))


def test_names_that_differ_in_case_alone_have_their_hash():
    keys = output_keys(["a.jpg", "A.jpg"])
    assert keys == {name: f"{name[0]}-{sha256(name.encode()).hexdigest()[:8]}.png" for name in keys}


def test_long_names_are_cut():
    names = ["x" * 251 + ".jpg", "x" * 250 + "y.jpg", "\u00e4" * 125 + ".jpeg", "z" * 240, "a." + "b" * 250]
    keys = output_keys(names)
    assert len(set(keys.values())) == 5
    assert all(len(key.encode()) <= 240 and key.endswith(".png") for key in keys.values())
    pair = choose_keys(names, {}, copies=True)
    assert all(len(key.encode()) <= 240 for keys in pair.values() for key in keys)
    assert pair[names[0]][1].endswith(".jpg")


def test_what_was_given_is_kept():
    first = output_keys(["a.jpg"])
    assert output_keys(["a.jpg", "a.png"], first) == {"a.jpg": "a.png", "a.png": "a.png.png"}
    assert output_keys(["a.tif"], first) == {"a.tif": "a.tif.png"}  # a.jpg is gone, and its file is there
    # Nothing can be a file and a folder.
    assert output_keys(["a.jpg", "a.png/b.png"], first) == {
        "a.jpg": "a.jpg.png",
        "a.png/b.png": "a.png/b.png",
    }


def test_a_copy_takes_its_own_name():
    assert choose_keys(["a.jpg", "b.png", "c"], {}, copies=True) == {
        "a.jpg": ("a.png", "a.jpg"),
        "b.png": ("b.png", "b.png"),
        "c": ("c.png", "c"),
    }
    # The PNG of the first is named as a copy of the second would be.
    assert choose_keys(["a.jpg", "a.png"], {}, copies=True) == {
        "a.jpg": ("a.jpg.png", "a.jpg"),
        "a.png": ("a.png.png", "a.png"),
    }


LETTERS = "aAbß\u00e9\u0130\u0131" + unicodedata.normalize("NFD", "\u00e9") + "\u212b\u00c5\u1e9e."
PARTS = st.one_of(
    st.text(LETTERS, min_size=1, max_size=3),
    st.sampled_from(["a.png", "a.jpg", "A.PNG", "a.jpg.png", "x.png", "a" * 250, "a" * 249 + "b"]),
).filter(lambda part: part.strip("."))
SUFFIXES = st.sampled_from(["", ".png", ".PNG", ".jpg", ".jpg.png"])
NAMES = st.builds(
    lambda folders, stem, suffix: "/".join([*folders, (stem + suffix)[:255]]),
    st.lists(PARTS, max_size=2),
    PARTS,
    SUFFIXES,
)


def folded(key):
    """Of the Unicode standard: a canonical caseless match compares these."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", key).casefold())


def check_apart(chosen):
    """No two images may take one key, nor may one take a folder of another's."""
    taken = {}
    for name, keys in chosen.items():
        for key in keys:
            assert taken.setdefault(folded(key), name) == name
            assert len(key.rpartition("/")[2].encode()) <= 255
            assert key.rpartition("/")[0] == name.rpartition("/")[0]
    for key in taken:
        parts = key.split("/")
        assert not any("/".join(parts[:depth]) in taken for depth in range(1, len(parts)))


@settings(max_examples=100, deadline=None)
@given(names=st.lists(NAMES, unique=True, max_size=12), copies=st.booleans(), random=st.randoms())
def test_every_image_has_a_key_of_its_own(names, copies, random):
    names = possible(names)
    chosen = choose_keys(names, {}, copies=copies)
    assert set(chosen) == set(names)
    check_apart(chosen)
    shuffled = list(names)
    random.shuffle(shuffled)
    assert choose_keys(shuffled, {}, copies=copies) == chosen


def possible(names):
    """Names that a folder can hold: a file is no folder."""
    return [name for name in names if not any(other.startswith(f"{name}/") for other in names)]


@settings(max_examples=100, deadline=None)
@given(
    first=st.lists(NAMES, unique=True, max_size=8),
    second=st.lists(NAMES, unique=True, max_size=8),
    copies=st.booleans(),
)
@example(first=["A", "A.jpg", "a.jpg.jpg"], second=["A.jpg"], copies=True)
def test_keys_stay_when_images_are_added(first, second, copies):
    first, second = possible(first), possible(second)
    before = choose_keys(first, {}, copies=copies)
    given_keys = {name: keys[-1] for name, keys in before.items()}
    after = choose_keys(second, given_keys, copies=copies)
    check_apart(after)
    parts = [name.split("/") for name in second]
    folders = {folded("/".join(part[:depth])) for part in parts for depth in range(1, len(part))}
    stay = {name for name in first if not any(folded(key) in folders for key in before[name])}
    for name in stay & set(second):
        assert given_keys[name] in after[name]
    gone = {folded(given_keys[name]) for name in stay - set(second)}
    assert not gone & {folded(key) for keys in after.values() for key in keys}


def test_no_folder_that_holds_the_originals(tmp_path):
    source = tmp_path / "photos" / "deep"
    for folder in (source, source.parent, tmp_path):
        with pytest.raises(UsageError, match=r"--images: .* holds the originals"):
            refuse_originals(Store(str(folder)), str(source), "--images")
    for folder in (source / "below", tmp_path / "photos2", tmp_path / "photos" / "dee"):
        refuse_originals(Store(str(folder)), str(source), "--images")
