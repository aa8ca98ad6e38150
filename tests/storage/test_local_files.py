"""Local folders as people have them: no entry ends a listing, and each that is left out is told."""

from __future__ import annotations

import os

from dkmeans.storage.store import Store


def test_odd_entries_are_told_and_stop_nothing(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("a.png", "deep/b.png", "deep/c#1"):  # the last is a file that is being written
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "deep" / "up").symlink_to("..")
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "to nothing").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "new\nline.png").write_bytes(b"x")
    with open(os.fsencode(tmp_path) + b"/\xff.png", "wb"):
        pass
    told: list[str] = []
    found = Store(str(tmp_path)).list(left_out=told)
    assert [(each.key, each.size) for each in found] == [("a.png", 1), ("deep/b.png", 1)]
    words = ("lies in", "levels of symbolic links", "link to nothing", "no file", "control", "UTF-8")
    assert len(told) == 6
    assert all(any(word in each for each in told) for word in words)
