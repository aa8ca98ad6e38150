"""The `dkmeans` command as a user meets it: exit codes, messages, and one JSON object on stdout."""

from __future__ import annotations

import json
import os
import struct

import numpy as np
import pytest
from PIL import Image

from dkmeans.storage.store import Store

SYNC = ["--scheduler", "sync"]


@pytest.fixture
def dataset(photos, tmp_path, dkmeans):
    assert dkmeans("ingest", photos, tmp_path / "d", "--patch", "5", "--stride", "4", *SYNC)[0] == 0
    return tmp_path / "d"


def test_the_whole_pipeline_prints_json(photos, tmp_path, dkmeans):
    paths = {name: str(tmp_path / name) for name in ("d", "palette", "patches", "c", "r")}
    code, out, err = dkmeans("ingest", photos, paths["d"], "--patch", "5x4", "--json", *SYNC)
    assert code == 0
    ingested = json.loads(out)
    assert (ingested["n_images"], ingested["n_skipped"], ingested["channels"]) == (5, 0, 3)
    assert "pixels: 1 shard in" in err
    assert "patches: 1 shard in" in err

    code, out, err = dkmeans("fit", paths["d"], paths["palette"], "--k", 6, "--json", *SYNC)
    fitted = json.loads(out)
    assert code == 0
    assert fitted["n_clusters"] == 6
    assert fitted["converged"] is True
    assert f"iterations: {fitted['n_iter']} iterations" in err
    assert "inertia" in err
    assert "shift" in err

    arguments = ["--on", "patches", "--k", 9, "--max-iter", 3, "--tol", 0, "--seed", 7, "--json", "--quiet"]
    code, out, err = dkmeans("fit", paths["d"], paths["patches"], *arguments, *SYNC)
    assert json.loads(out)["n_iter"] == 3
    assert err == "warning: not converged after 3 iterations; --max-iter allows more\n"

    images = tmp_path / "png"
    code, out, _ = dkmeans(
        "compress", paths["d"], paths["palette"], paths["c"], "--images", images, "--json", *SYNC
    )
    assert json.loads(out)["mean_psnr"] > 15
    assert (images / "deep" / "er" / "cup.png").is_file()
    code, out, _ = dkmeans("reconstruct", paths["d"], paths["patches"], paths["r"], "--json", *SYNC)
    assert json.loads(out)["mean_psnr"] > 15

    code, out, _ = dkmeans("info", paths["palette"], "--json")
    assert json.loads(out)["centers_sha256"] == fitted["centers_sha256"]
    assert json.loads(out)["arrays"]["centers"]["shape"] == [6, 3]
    code, out, _ = dkmeans("info", paths["d"])
    assert "centers_sha256" not in out
    assert "dataset" in out

    code, out, _ = dkmeans("report", tmp_path / "page.html", paths["c"], paths["r"], "--json")
    assert code == 0
    assert json.loads(out)["n_results"] == 2
    assert (tmp_path / "page.html").stat().st_size > 10_000


# Bad input: (what is at SOURCE, exit code, text of the message)


def _folder(path):
    path.mkdir()
    return path


def _with_text(path):
    (_folder(path) / "readme.txt").write_text("no image")
    return path


def _lying_idx(path):
    path = path.with_suffix(".idx3-ubyte")
    path.write_bytes(struct.pack(">IIII", 0x803, 10, 28, 28) + b"\0" * 784 * 9)
    return path


def _short_magic(path):
    path = path.with_suffix(".idx3-ubyte")
    path.write_bytes(struct.pack(">IIII", 0xD03, 1, 2, 2) + b"\0" * 16)
    return path


def _float_stack(path):
    path = path.with_suffix(".npy")
    np.save(path, np.zeros((2, 4, 4)))
    return path


def _pickled(path):
    path = path.with_suffix(".npy")
    np.save(path, np.array([{}, {}]), allow_pickle=True)
    return path


def _zero_byte(path):
    (_folder(path) / "a.png").write_bytes(b"")
    return path


def _truncated(path):
    Image.effect_noise((64, 64), 50).save(_folder(path) / "a.png")
    data = (path / "a.png").read_bytes()
    (path / "a.png").write_bytes(data[: len(data) // 2])
    return path


def _bomb(path):
    Image.new("1", (20_000, 10_000)).save(_folder(path) / "bomb.png")
    return path


@pytest.mark.parametrize(
    ("make", "code", "text"),
    [
        (lambda path: path, 3, "source"),
        (_folder, 3, "source"),
        (_with_text, 3, "readme.txt"),
        (_lying_idx, 3, "source.idx3-ubyte"),
        (_short_magic, 3, "source.idx3-ubyte"),
        (_float_stack, 3, "float64"),
        (_pickled, 3, "source.npy"),
        (_zero_byte, 6, "a.png"),
        (_truncated, 6, "a.png"),
        (_bomb, 6, "bomb.png"),
    ],
)
def test_sources_that_cannot_be_used(tmp_path, dkmeans, make, code, text):
    source = make(tmp_path / "source")
    found, out, err = dkmeans("ingest", source, tmp_path / "d", *SYNC)
    assert found == code
    assert out == ""
    last = err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert text in last
    assert "Traceback" not in err
    assert not Store(str(tmp_path / "d")).exists("zarr.json")


def test_no_permission_to_read(photos, tmp_path, dkmeans):
    locked = _folder(tmp_path / "locked")
    (locked / "a.png").write_bytes((photos / "astronaut.png").read_bytes())
    locked.chmod(0)
    other = os.geteuid() == 0
    if other:
        for folder in (tmp_path, *tmp_path.parents):
            if folder.owner() == "root" and "pytest" in str(folder):
                folder.chmod(0o755)
        os.seteuid(65534)  # root may read everything
    try:
        code, _, err = dkmeans("ingest", locked, tmp_path / "d", *SYNC)
    finally:
        if other:
            os.seteuid(0)
        locked.chmod(0o755)
    assert code == 3
    assert "permission denied" in err.lower()


def test_no_permission_to_write(photos, tmp_path, dkmeans, monkeypatch):
    import obstore

    def refuse(*_, **__):
        raise obstore.exceptions.PermissionDeniedError("403")

    monkeypatch.setattr(obstore, "put", refuse)
    code, _, err = dkmeans("ingest", photos, tmp_path / "d", *SYNC)
    assert code == 4
    assert "permission denied" in err


def test_a_disk_that_fills_up(photos, tmp_path, dkmeans, monkeypatch):
    import obstore

    put = obstore.put
    room = [6]

    def full(store, path, data, **options):
        room[0] -= 1
        if room[0] < 0:
            raise obstore.exceptions.GenericError("No space left on device (os error 28)")
        return put(store, path, data, **options)

    monkeypatch.setattr(obstore, "put", full)
    code, _, err = dkmeans("ingest", photos, tmp_path / "d", *SYNC)
    assert code == 4
    assert "no space left" in err
    assert "--resume" in err
    code, _, err = dkmeans("info", tmp_path / "d")
    assert code == 3
    assert "unfinished" in err
    monkeypatch.undo()
    assert dkmeans("ingest", photos, tmp_path / "d", *SYNC)[0] == 2
    assert dkmeans("ingest", photos, tmp_path / "d", "--resume", *SYNC)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--k", "0"], "k: found 0"),
        (["--k", "two"], "k: found 'two'"),
        (["--k", "2.5"], "k: found '2.5'"),
        (["--k", "3", "--tol", "small"], "tol: found 'small'"),
        ([], "--k"),
        (["--k", "3", "--on", "edges"], "edges"),
        (["--k", "3", "--init", "k-means"], "'k-means'"),
        (["--k", "3", "--tol", "-1"], "tol: found -1"),
        (["--k", "3", "--overwrite", "--resume"], "both --overwrite and --resume"),
        (["--k", "3", "--scheduler", "nowhere.json"], "nowhere.json"),
        (["--k", "3", "--memory-limit", "lots"], "lots"),
        (["--k", "3", "--nope"], "--nope"),
    ],
)
def test_options_that_cannot_be_used(dataset, tmp_path, dkmeans, arguments, text):
    scheduler = [] if {"--scheduler", "--memory-limit"}.intersection(arguments) else SYNC
    code, out, err = dkmeans("fit", dataset, tmp_path / "c", *arguments, *scheduler)
    assert code == 2
    assert text in err
    assert out == ""
    assert not Store(str(tmp_path / "c")).list()


def test_artefacts_in_each_others_place(dataset, tmp_path, dkmeans):
    """What was found and what was expected, in one line; nothing is begun."""
    kinds = {"dataset": dataset, "codebook": tmp_path / "c", "result": tmp_path / "r"}
    assert dkmeans("fit", dataset, kinds["codebook"], "--k", 2, *SYNC)[0] == 0
    assert dkmeans("compress", dataset, kinds["codebook"], kinds["result"], *SYNC)[0] == 0
    for command, *wanted in (("compress", "dataset", "codebook"), ("reconstruct", "dataset", "codebook")):
        for given in (("codebook", "dataset"), ("dataset", "dataset"), ("result", "codebook")):
            found, expected = next(pair for pair in zip(given, wanted, strict=True) if pair[0] != pair[1])
            code, out, err = dkmeans(command, *(kinds[kind] for kind in given), tmp_path / "x", *SYNC)
            assert (code, out) == (3, "")
            (line,) = err.splitlines()
            word = "set of coded images" if found == "result" else found
            assert f"{kinds[found]} is a {word}; expected a {expected} of dkmeans" in line
            assert not Store(str(tmp_path / "x")).list()


def test_data_that_does_not_fit(dataset, tmp_path, dkmeans):
    code, _, err = dkmeans("fit", tmp_path / "none", tmp_path / "c", "--k", 2, *SYNC)
    assert (code, "nothing is there" in err) == (3, True)
    code, _, err = dkmeans("fit", dataset, tmp_path / "c", "--k", 10**9, *SYNC)
    assert (code, "fewer than the 1000000000 clusters" in err) == (3, True)
    dkmeans("fit", dataset, tmp_path / "c", "--k", 2, *SYNC)
    code, _, err = dkmeans("reconstruct", dataset, tmp_path / "c", tmp_path / "r", *SYNC)
    assert (code, "was fit on pixels" in err) == (3, True)
    code, _, err = dkmeans("fit", dataset, tmp_path / "c", "--k", 2, *SYNC)
    assert (code, "--overwrite" in err) == (2, True)
    code, _, err = dkmeans("ingest", dataset, dataset, "--overwrite", *SYNC)
    assert code in (2, 3)
    assert dkmeans("info", dataset)[0] == 0


def test_a_user_folder_is_never_deleted(photos, tmp_path, dkmeans):
    precious = _folder(tmp_path / "precious")
    (precious / "thesis.tex").write_text("years of work")
    for flag in ([], ["--overwrite"], ["--resume"]):
        code, _, err = dkmeans("ingest", photos, precious, *flag, *SYNC)
        assert code == 2
        assert "dkmeans" in err
    assert (precious / "thesis.tex").read_text() == "years of work"


def test_no_scheduler(dataset, tmp_path, dkmeans, monkeypatch):
    there = ["--scheduler", "tcp://127.0.0.1:9", "--connect-seconds", "1"]
    code, _, err = dkmeans("fit", dataset, tmp_path / "c", "--k", 2, *there)
    assert code == 5
    assert "tcp://127.0.0.1:9" in err
    assert "dask scheduler" in err


@pytest.mark.parametrize("scheduler", ["tcp://192.0.2.1:8786", "192.0.2.1:8786"])
def test_a_scheduler_elsewhere_without_tls(dataset, tmp_path, dkmeans, monkeypatch, scheduler):
    monkeypatch.setattr("distributed.Client", None)  # nothing is sent
    code, out, err = dkmeans("fit", dataset, tmp_path / "c", "--k", 2, "--scheduler", scheduler)
    assert (code, out) == (5, "")
    (line,) = err.splitlines()
    assert line.startswith("error: tcp://192.0.2.1:8786 is neither encrypted nor on this machine")
    assert "--tls-ca" in line
    assert "--insecure" in line
    assert not Store(str(tmp_path / "c")).list()


def test_insecure_is_an_option(dataset, tmp_path, dkmeans, monkeypatch):
    def refuse(address, **_):
        raise OSError(f"no way to {address}")

    monkeypatch.setattr("distributed.Client", refuse)
    far = ["--scheduler", "192.0.2.1:8786", "--insecure"]
    code, _, err = dkmeans("fit", dataset, tmp_path / "c", "--k", 2, *far)
    assert code == 5
    assert "no scheduler with workers answers at tcp://192.0.2.1:8786: no way to" in err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ["--tls-ca", "FILE", "--scheduler", "tls://127.0.0.1:1"],
            "found only --tls-ca; expected --tls-ca, ",
        ),
        (["--tls-ca", "missing.pem", "--scheduler", "tls://127.0.0.1:1"], "found no file missing.pem"),
        (["--tls-ca", "FILE", "--tls-cert", "FILE", "--tls-key", "FILE", *SYNC], "--scheduler sync does not"),
        (["--tls-ca", "FILE", "--tls-cert", "FILE", "--tls-key", "FILE"], "--scheduler auto does not leave"),
        (["--performance-report", "page.html", *SYNC], "--performance-report: --scheduler sync has no"),
        (["--scheduler", "FILE"], "is not a scheduler file of Dask"),
        (["--storage-option", "region", *SYNC], "expected KEY=VALUE"),
        (["--storage-option", "=eu-west-1", *SYNC], "expected KEY=VALUE"),
        (["--events", "s3://bucket", *SYNC], "--events: found 's3://bucket'; expected the URL of a file"),
        (["--events", ".", *SYNC], "--events: found the folder "),
    ],
)
def test_options_of_clusters_and_stores(dataset, tmp_path, dkmeans, monkeypatch, arguments, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.pem").write_text("some text")
    arguments = [argument.replace("FILE", str(tmp_path / "file.pem")) for argument in arguments]
    code, out, err = dkmeans("fit", dataset, tmp_path / "c", "--k", 2, *arguments)
    assert (code, out) == (2, "")
    assert text in err
    assert len(err.splitlines()) == 1
    assert not Store(str(tmp_path / "c")).list()
    assert not (tmp_path / "page.html").exists()


@pytest.fixture
def no_settings(monkeypatch):
    """No option of S3 in the environment."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (["aws_nonsense=1"], 2, "nonsense: s3:// has no such option"),
        (["timeout=soon"], 4, "s3://bucket/c cannot be used"),
        (["endpoint=http://192.0.2.1:1", "skip_signature=true"], 4, "expected https://"),
        (
            ["endpoint=http://127.0.0.1:1", "skip_signature=true"],
            4,
            "s3://bucket/c: the store does not answer",
        ),
    ],
)
def test_stores_that_cannot_be_used(dataset, dkmeans, no_settings, options, code, text):
    given = [part for option in options for part in ("--storage-option", option)]
    found, out, err = dkmeans("fit", dataset, "s3://bucket/c", "--k", 2, *given, *SYNC)
    assert (found, out) == (code, "")
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    assert text in line


def test_a_log_of_events_that_cannot_be_written(dataset, tmp_path, dkmeans):
    (tmp_path / "file").touch()
    log = ["--events", tmp_path / "file" / "events.jsonl"]
    code, out, err = dkmeans("fit", dataset, tmp_path / "c", "--k", 2, *log, *SYNC)
    assert (code, out) == (4, "")
    assert "a part of this path is a file" in err
    assert not (tmp_path / "c").exists()


def test_a_log_of_events(dataset, tmp_path, dkmeans):
    log = tmp_path / "events.jsonl"
    assert dkmeans("fit", dataset, tmp_path / "c", "--k", 2, "--events", log, *SYNC)[0] == 0
    events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
    assert events[0] == "begin"
    assert events[-1] == "end"
    assert dkmeans("fit", dataset, tmp_path / "c", "--k", 2, "--events", log, *SYNC)[0] == 2
    assert len(log.read_text().splitlines()) == len(events)  # refused before it began


def test_a_page_of_what_the_workers_did(dataset, tmp_path, dkmeans):
    page = ["--performance-report", tmp_path / "page.html"]
    workers = ["--workers", 1, "--threads-per-worker", 1]
    assert dkmeans("fit", dataset, tmp_path / "c", "--k", 2, *page, *workers)[0] == 0
    assert "</html>" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_bug_is_said_to_be_one(dataset, tmp_path, dkmeans, monkeypatch):
    monkeypatch.setattr("dkmeans.stages.fit.seed_centers", lambda *_: 1 / 0)
    code, _, err = dkmeans("fit", dataset, tmp_path / "c", "--k", 2, *SYNC)
    assert code == 1
    assert "this is a bug: ZeroDivisionError" in err
    assert "--debug" in err
    code, _, err = dkmeans("fit", dataset, tmp_path / "c", "--k", 2, "--log-level", "debug", *SYNC)
    assert code == 1
    assert err.splitlines()[-1] == "ZeroDivisionError: division by zero"


def test_debug_shows_the_traceback_and_keeps_the_exit_code(tmp_path, dkmeans):
    code, out, err = dkmeans(
        "fit", tmp_path / "none", tmp_path / "c", "--k", 2, "--log-level", "debug", *SYNC
    )
    assert (code, out) == (3, "")
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("error: ")


def test_ctrl_c(dataset, tmp_path, dkmeans, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("dkmeans.stages.fit.seed_centers", interrupt)
    code, _, err = dkmeans("fit", dataset, tmp_path / "c", "--k", 2, *SYNC)
    assert code == 130
    assert err.splitlines()[-1] == "interrupted; nothing was kept"  # see tests/faults/test_interrupt.py
    assert not (tmp_path / "c").exists() or not Store(str(tmp_path / "c")).list()


def test_version(dkmeans):
    from dkmeans import __version__

    assert dkmeans("--version") == (0, f"dkmeans {__version__}\n", "")
