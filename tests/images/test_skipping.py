"""Images that cannot be used: named, kept, counted against a number or a share, and the end of the work."""

from __future__ import annotations

import threading
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dkmeans.compute.in_process import InProcess
from dkmeans.config.stages import IngestConfig
from dkmeans.errors import SkippedError, UsageError
from dkmeans.images.decode import SkippedImage
from dkmeans.images.skipping import Skipping


class Notes:
    """What `Skipping` tells and keeps."""

    def __init__(self, max_skipped, n_found=0):
        self.warnings, self.kept, self.events = [], [], []
        self.skipping = Skipping(max_skipped, self, self.kept.append, "s3://b/skipped")
        self.skipping.n_found = n_found

    def event(self, name, **facts):
        self.events.append((name, facts))

    def warn(self, text):
        self.warnings.append(text)


def bad(*numbers):
    return [SkippedImage(f"{number}.png", "bad") for number in numbers]


def test_of_many_images_the_first_are_named():
    notes = Notes(30)
    notes.skipping.add(bad(*range(25)))
    assert notes.warnings[0] == "skipped 0.png: bad"
    assert notes.warnings[19:] == ["skipped 19.png: bad", "skipped 5 more, listed in s3://b/skipped"]
    assert notes.events == [("skipped", {"image": f"{number}.png", "reason": "bad"}) for number in range(25)]
    notes.skipping.add([])
    assert len(notes.warnings) == 21


@given(st.integers(0, 1000), st.integers(0, 100), st.integers(1, 400))
def test_a_share_is_of_the_images_that_were_found(n_found, percent, n_bad):
    skipping = Notes(f"{percent}%", n_found).skipping
    too_many = n_bad > Fraction(percent, 100) * n_found
    if too_many:
        with pytest.raises(
            SkippedError, match=rf"{n_bad} of {n_found:,} images .* allows {percent}%; the first"
        ):
            skipping.add(bad(*range(n_bad)))
    else:
        skipping.add(bad(*range(n_bad)))


def test_all_are_all():
    Notes("all").skipping.add(bad(*range(999)))


@pytest.mark.parametrize(
    ("given", "found"), [(7, 7), ("7", 7), ("5%", "5%"), (" 2.5 % ", "2.5%"), ("all", "all"), (0, 0)]
)
def test_what_may_be_allowed(given, found):
    config = IngestConfig(source="a", dataset="b", max_skipped=given)
    assert config.max_skipped == found
    assert Notes(config.max_skipped).skipping.allowed >= 0


@pytest.mark.parametrize("value", [-1, "-1", "half", "101%", "5 percent", 2.5, True, None, "", "%"])
def test_what_may_not_be_allowed(value):
    with pytest.raises(UsageError, match=r"max_skipped: .* a number of images, a share such as 5%, or all"):
        IngestConfig(source="a", dataset="b", max_skipped=value)


def test_an_image_that_two_tasks_have_seen_counts_once():
    notes = Notes(1)
    look = notes.skipping.watch()
    look([*bad(1), "an image"])
    look(bad(1))
    assert notes.skipping.images == []
    with pytest.raises(SkippedError, match="2 images cannot be used, --max-skipped allows 1"):
        look(bad(2))
    assert notes.warnings == ["skipped 1.png: bad", "skipped 2.png: bad"]
    assert notes.kept == [bad(1, 2)]


def test_what_was_left_out_before_counts():
    notes = Notes(2)
    notes.skipping.add(bad(1, 2))
    with pytest.raises(SkippedError, match="3 images"):
        notes.skipping.watch()(bad(3))


@pytest.mark.parametrize("threads", [1, 2])
def test_a_run_ends_as_soon_as_there_are_too_many(threads):
    """Two tasks are one too many; those that run already may end, no more of the 50 are begun."""
    done, lock = [], threading.Lock()

    def find(number):
        with lock:
            done.append(number)
        return bad(number)

    executor, notes = InProcess(threads), Notes(1)
    task = executor.task(find)
    with pytest.raises(SkippedError):
        executor.run([task(number) for number in range(50)], check=notes.skipping.watch())
    assert 2 <= len(done) <= 2 + 2 * threads
