"""A disk that is full: said in one line, nothing visible, and the same outputs once there is room."""

from __future__ import annotations

import subprocess

import pytest
from faults.conftest import run
from faults.place import STAGES, Outputs, stored
from faults.test_killed import BEFORE

from dkmeans.artefacts.kinds import read_any
from dkmeans.command.main import main
from dkmeans.errors import InputError
from dkmeans.storage.store import Store


def resize(folder, kibibytes):
    subprocess.run(["mount", "-o", f"remount,size={kibibytes}k", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no right to mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def used(folder):
    return int(subprocess.run(["du", "-sk", str(folder)], capture_output=True, text=True).stdout.split()[0])


@pytest.mark.parametrize(
    "stage", ["ingest", "fit", *(pytest.param(name, marks=pytest.mark.slow) for name in STAGES[2:])]
)
@pytest.mark.parametrize("room", [8, pytest.param(24, marks=pytest.mark.slow)])
def test_the_disk_is_full(stage, room, photos, undisturbed, small_disk, capsys):
    outputs = Outputs(str(photos), str(small_disk))
    for before in BEFORE[stage]:
        run(outputs.command(before))
    resize(small_disk, used(small_disk) + room)
    with pytest.raises(SystemExit) as caught:
        main([*outputs.command(stage), "--scheduler", "sync", "--quiet"])
    told = capsys.readouterr().err.splitlines()[-1]
    assert caught.value.code == 4, told
    assert "no space left" in told
    assert "--resume" in told
    with pytest.raises(InputError, match=r"unfinished|nothing is there"):
        read_any(Store(outputs.url(stage)))
    resize(small_disk, 65536)
    run([*outputs.command(stage), "--resume"])
    assert stored(outputs.url(stage)) == undisturbed[stage]
