"""Local folders as people have them: no entry ends a listing, and each that is left out is told."""

from __future__ import annotations

import os

from dkmeans.storage.store import Store


def test_odd_entries_are_told_and_stop_nothing(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("a.png", "deep/b.png", "deep/c#1"):
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
    words = (
        "lies in",
        "levels of symbolic links",
        "link to nothing",
        "no file",
        "control",
        "UTF-8",
        "written",
    )
    assert len(told) == 7
    assert all(any(word in each for each in told) for word in words)


def test_paths_too_long_for_the_system_are_told_and_stop_nothing(tmp_path):
    """Made from within, as no call takes them whole."""
    (tmp_path / "a.png").write_bytes(b"x")
    before, name, depth = os.getcwd(), "d" * 200, 0
    os.chdir(tmp_path)
    try:
        while depth < 22:  # paths have at most 4096 bytes
            os.mkdir(name)
            os.chdir(name)
            depth += 1
        with open("deep.png", "wb") as file:
            file.write(b"x")
    finally:
        os.chdir(before)
    told: list[str] = []
    assert [each.key for each in Store(str(tmp_path)).list(left_out=told)] == ["a.png"]
    assert len(told) == 1
    assert "too long" in told[0]
