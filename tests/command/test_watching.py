"""Watch an output until it is complete: a line for each change, and its status at the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from dkmeans import ClusterConfig, IngestConfig, ingest
from dkmeans.command import watching


@pytest.fixture
def dataset(tmp_path):
    np.save(tmp_path / "stack.npy", np.zeros((2, 8, 8, 3), np.uint8))
    url = str(tmp_path / "d")
    ingest(IngestConfig(source=str(tmp_path / "stack.npy"), dataset=url), ClusterConfig(scheduler="sync"))
    return url


def test_a_line_for_each_change_until_it_is_complete(dataset, dkmeans, monkeypatch):
    whole = watching.status(dataset)
    half = {**whole, "state": "unfinished", "shards": {"pixels": {"finished": 0, "total": 1}}}
    found = iter([half, half, whole])
    monkeypatch.setattr(watching, "status", lambda url: next(found))
    options = ["--watch", "--every", "0.01", "--json", "--log-format", "json"]
    code, out, err = dkmeans("status", dataset, *options)
    assert code == 0
    assert json.loads(out) == whole
    lines = [json.loads(line) for line in err.splitlines()]
    assert [line["status"]["state"] for line in lines] == ["unfinished", "complete"]
    assert lines[0]["message"] == "dataset, run 1, unfinished: 0 of 1 shards of pixels"
    assert lines[0]["level"] == "info"


@pytest.mark.parametrize(
    "options", [["--every", "1"], ["--watch", "--every", "0"], ["--watch", "--every", "x"]]
)
def test_seconds_that_are_none(dataset, dkmeans, options):
    code, out, err = dkmeans("status", dataset, *options)
    assert (code, out) == (2, "")
    assert err.startswith("error: --every: ")


def test_ctrl_c_ends_it_quietly(dataset):
    os.remove(f"{dataset}/zarr.json")
    # A shell's background jobs ignore SIGINT, and so would their children.
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += "from dkmeans.command.main import main; main()"
    command = [sys.executable, "-c", code, "status", dataset, "--watch", "--every", "60"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert "unfinished" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "Traceback" not in rest
