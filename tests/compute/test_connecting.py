"""From a config to a cluster: addresses, TLS, versions, and what is refused before anything is sent."""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import re
import subprocess
import sys
import time
import warnings
from pathlib import Path

import distributed
import psutil
import pytest
from dask.delayed import delayed

from dkmeans import ClusterConfig, __version__
from dkmeans.compute import waiting
from dkmeans.compute.connecting import connect
from dkmeans.compute.distributed import Distributed
from dkmeans.compute.in_process import InProcess
from dkmeans.errors import ClusterError, UsageError
from dkmeans.events.reporter import SILENT, Reporter
from dkmeans.storage.access import storage_options
from dkmeans.storage.store import Store

LOCAL = ClusterConfig(workers=1, threads_per_worker=2, memory_limit="1GiB")
NO_WORKERS = {"scheduler": "sync", "connect_seconds": None}
MAKE_CERTS = Path(__file__).parents[2] / "deploy/tls/make-certs.sh"


@pytest.fixture(autouse=True)
def collected():
    """A client that never got a connection leaves its sockets to the garbage collector, which warns."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def square(x):
    return x * x


def refused(kind, text, **options):
    """The error of a connection that cannot be made."""
    options = {"connect_seconds": 2, **options}
    config = ClusterConfig(**{name: value for name, value in options.items() if value is not None})
    with pytest.raises(kind, match=text) as caught, connect(config, SILENT):
        pass
    return caught.value


# Clusters of our own


def test_a_local_cluster_reports_its_memory():
    with connect(LOCAL, SILENT) as place:
        assert place.memory_bytes() == 1 << 30
        assert place.run([delayed(os.getpid)()]) != [os.getpid()]
        with connect(place, SILENT) as same:
            assert same is place
        assert place.run([delayed(square)(3)]) == [9]  # still open


def told(config, capsys, **options):
    """The executor that a config leads to, and what is said about it."""
    with connect(config, Reporter(), **options) as place:
        pass
    return place, capsys.readouterr().err


def test_small_work_runs_on_all_cores_of_this_process(capsys):
    place, said = told(ClusterConfig(), capsys, pixels=lambda: 49_999_999)
    assert isinstance(place, InProcess)
    n = len(os.sched_getaffinity(0))
    assert place.n_threads() == n
    assert said == f"running on {n} thread{'s' if n > 1 else ''} in this process\n"


SCRIPT = """
from dkmeans import ClusterConfig
from dkmeans.compute.connecting import connect
from dkmeans.events.reporter import SILENT

def start():
    with connect(ClusterConfig(workers=1, threads_per_worker=1), SILENT):
        print("started")

{guard}start()
"""


@pytest.mark.parametrize("guard", ["", 'if __name__ == "__main__": '], ids=["without", "with"])
def test_a_script_without_a_guard_is_told_before_its_workers_run_it(tmp_path, guard):
    script = tmp_path / "job.py"
    script.write_text(SCRIPT.format(guard=guard), encoding="utf-8")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    if guard:
        assert (done.stdout, done.returncode) == ("started\n", 0), done.stderr
        return
    assert done.stdout == ""
    assert done.stderr.count("Traceback") == 1  # none of a worker
    assert done.stderr.splitlines()[-1].startswith(
        f"dkmeans.errors.ClusterError: {script}: found no guard around what starts workers; expected one"
    )


@pytest.mark.parametrize("pixels", [None, lambda: 50_000_000])
def test_large_work_and_unknown_work_run_on_a_local_cluster(pixels, capsys):
    place, said = told(ClusterConfig(), capsys, pixels=pixels)
    assert isinstance(place, Distributed)
    assert re.fullmatch(r"running on a local cluster, dashboard: http://127\.0\.0\.1:\S+\n", said)


@pytest.mark.parametrize("options", [{"workers": 1}, {"threads_per_worker": 1}, {"memory_limit": "1GiB"}])
def test_options_of_workers_choose_a_local_cluster(options, capsys):
    place, said = told(ClusterConfig(**options), capsys, pixels=lambda: 1)
    assert isinstance(place, Distributed)
    assert said.startswith("running on a local cluster")


@pytest.mark.parametrize("scheduler", ["threads", "sync"])
@pytest.mark.parametrize(
    "options",
    [{"workers": 1}, {"threads_per_worker": 1}, {"memory_limit": "auto"}, {"connect_seconds": 5}],
    ids=lambda options: next(iter(options)),
)
def test_options_of_workers_are_refused_where_there_are_none(scheduler, options):
    flag = f"--{next(iter(options)).replace('_', '-')}"
    text = f"{flag}: --scheduler {scheduler} has no workers.* Use local, or leave out {flag}"
    refused(UsageError, text, **{"connect_seconds": None, **options}, scheduler=scheduler)


def test_quiet_says_nothing_of_where_it_runs(capsys):
    with connect(ClusterConfig(scheduler="threads"), Reporter(level="warning")):
        pass
    assert capsys.readouterr().err == ""


def test_this_process_knows_its_memory():
    with connect(ClusterConfig(scheduler="sync"), SILENT) as place:
        assert 1 << 28 < place.memory_bytes() <= psutil.virtual_memory().total


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"scheduler": "no/such/file.json"}, "expected auto, threads, local, sync, an address"),
        ({"memory_limit": "plenty"}, "found 'plenty'"),
    ],
)
def test_options_that_cannot_be_used(options, text):
    refused(UsageError, text, **options)


def test_a_page_of_what_the_workers_did(tmp_path):
    page = tmp_path / "report.html"
    with connect(LOCAL.model_copy(update={"performance_report": str(page)}), SILENT) as place:
        assert place.run([delayed(square)(3)]) == [9]
        assert not page.exists()
    text = page.read_text(encoding="utf-8")
    assert "</html>" in text
    assert "square" in text


def test_there_is_no_such_page_without_a_scheduler(tmp_path):
    page = tmp_path / "report.html"
    refused(UsageError, "--performance-report: .*Use local", **NO_WORKERS, performance_report=str(page))
    assert not page.exists()


def test_a_page_that_cannot_be_written_is_told_before_any_work(tmp_path, photos, dkmeans):
    page = tmp_path / "no" / "such" / "folder" / "report.html"
    local = ["--workers", 1, "--threads-per-worker", 1, "--performance-report", page]
    code, _, err = dkmeans("ingest", photos, tmp_path / "d", *local)
    if code == 0:
        assert page.is_file()
    else:
        assert "this is a bug" not in err
        assert str(page) in err
        assert not (tmp_path / "d").exists()


# Addresses


def test_an_address_and_a_scheduler_file(workers, tmp_path):
    address = workers.client.scheduler.address
    file = tmp_path / "scheduler.json"
    file.write_text(json.dumps(workers.client.scheduler_info()))
    for scheduler in (address, address.removeprefix("tcp://"), str(file)):
        with connect(ClusterConfig(scheduler=scheduler), SILENT) as place:
            assert place.run([delayed(square)(4)]) == [16]


def test_a_scheduler_without_workers(monkeypatch):
    monkeypatch.setattr(waiting, "NO_WORKERS_SECONDS", 1)
    with distributed.LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0") as empty:
        error = refused(ClusterError, "no worker has been connected for", scheduler=empty.scheduler_address)
    assert "--connect-seconds" in str(error)


def test_a_cluster_that_adapts_from_no_workers_starts_one():
    """It starts none before there is a task."""
    with distributed.LocalCluster(
        n_workers=0, threads_per_worker=1, memory_limit="1GiB", dashboard_address="127.0.0.1:0"
    ) as empty:
        empty.adapt(minimum=0, maximum=1, interval="100ms")
        with connect(ClusterConfig(scheduler=empty.scheduler_address, connect_seconds=2), SILENT) as place:
            assert place.memory_bytes() == 1 << 30
            assert place.run([delayed(square)(4)]) == [16]


@pytest.mark.parametrize("limit", ["2", "2kB", "300MiB", "-1"])
def test_memory_that_no_worker_could_do_with_is_refused_at_once(limit, monkeypatch):
    monkeypatch.setattr(distributed, "LocalCluster", None)
    error = refused(
        UsageError, f"--memory-limit: found '{limit}'.*at least 375MiB, such as 2GiB", memory_limit=limit
    )
    assert error.exit_code == 2


@pytest.mark.parametrize(
    "content",
    [b"no json", b"", b"\xff\xfe\x00", b"[]", b"3", b"null", b"{}", b'{"id": "Scheduler-1"}'],
    ids=repr,
)
def test_a_file_that_is_no_scheduler_file(tmp_path, content):
    file = tmp_path / "scheduler.json"
    file.write_bytes(content)
    error = refused(UsageError, "--scheduler: .* is not a scheduler file of Dask", scheduler=str(file))
    assert str(file) in str(error)


def test_a_folder_is_no_scheduler_file(tmp_path):
    refused(UsageError, "is not a scheduler file of Dask", scheduler=str(tmp_path))


@pytest.fixture
def attempts(monkeypatch):
    """Clients are not made, only counted."""
    made = []

    def client(address, **_):
        made.append(address)
        raise TimeoutError("nobody there")

    monkeypatch.setattr(distributed, "Client", client)
    return made


FAR = ["tcp://192.0.2.1:8786", "192.0.2.1:8786", "node1.example.com:8786", "ws://192.0.2.1:8786", "file"]


@pytest.fixture
def far(request, tmp_path):
    """A scheduler in the clear on another machine."""
    if request.param != "file":
        return request.param
    (tmp_path / "scheduler.json").write_text(json.dumps({"address": FAR[0]}))
    return str(tmp_path / "scheduler.json")


@pytest.mark.parametrize("far", FAR, indirect=True)
def test_a_way_to_another_machine_in_the_clear_is_refused_at_once(far, attempts):
    error = refused(ClusterError, r"neither encrypted nor on this machine.*tls://.*--insecure", scheduler=far)
    assert error.exit_code == 5
    assert "192.0.2.1:8786" in str(error) or far in str(error)
    assert attempts == []


@pytest.mark.parametrize("far", FAR, indirect=True)
def test_a_user_may_allow_it(far, attempts):
    error = refused(ClusterError, "no scheduler with workers answers at", scheduler=far, insecure=True)
    assert attempts
    assert attempts[0] in str(error)


@pytest.mark.parametrize(
    "near",
    ["tcp://127.0.0.1:1", "127.0.0.1:1", "localhost:1", "tcp://[::1]:1", "[::1]:1", "tls://192.0.2.1:1"],
)
def test_this_machine_and_encrypted_ways_are_allowed(near, attempts):
    refused(ClusterError, "no scheduler with workers", scheduler=near)
    assert len(attempts) == 1


@pytest.mark.parametrize(
    "far", ["tcp://127.0.0.1.example.com:1", "tcp://localhost.example.com:1", "tcp://localhost@192.0.2.1:1"]
)
def test_names_that_only_look_like_this_machine(far, attempts):
    refused(ClusterError, "neither encrypted nor on this machine", scheduler=far)
    assert attempts == []


# TLS


def make_certs(folder):
    subprocess.run(
        [MAKE_CERTS, folder, "localhost", "127.0.0.1"], check=True, stdout=subprocess.DEVNULL, timeout=60
    )
    return {
        "tls_ca": str(folder / "ca.pem"),
        "tls_cert": str(folder / "cert.pem"),
        "tls_key": str(folder / "key.pem"),
    }


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """The three files of a CA, as options."""
    return make_certs(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def other_tls(tmp_path_factory):
    """Those of another CA."""
    return make_certs(tmp_path_factory.mktemp("other"))


@pytest.fixture(scope="module")
def encrypted(tls):
    """A scheduler and a worker that take no connection without certificates; its address."""
    roles = {
        f"tls_{role}_{kind}": tls[f"tls_{kind}"]
        for role in ("scheduler", "worker", "client")
        for kind in ("cert", "key")
    }
    security = distributed.Security(tls_ca_file=tls["tls_ca"], require_encryption=True, **roles)
    with distributed.LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        memory_limit=0,  # it is in this process, whose memory the whole suite has a part in
        processes=False,
        protocol="tls://",
        host="127.0.0.1",
        security=security,
        dashboard_address="127.0.0.1:0",
        silence_logs=50,
    ) as cluster:
        yield cluster.scheduler_address


def as_arguments(options):
    return [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", value)]


def test_an_encrypted_scheduler_by_address_by_host_and_by_file(encrypted, tls, tmp_path):
    assert re.fullmatch(r"tls://127\.0\.0\.1:\d+", encrypted)
    file = tmp_path / "scheduler.json"
    file.write_text(json.dumps({"address": encrypted, "type": "Scheduler"}))
    for scheduler in (encrypted, encrypted.removeprefix("tls://"), str(file)):
        with connect(ClusterConfig(scheduler=scheduler, **tls), SILENT) as place:
            assert place.client.scheduler.address == encrypted
            assert place.run([delayed(square)(4)]) == [16]


def test_a_job_on_an_encrypted_scheduler(encrypted, tls, photos, tmp_path, dkmeans):
    options = ["--scheduler", encrypted, *as_arguments(tls), "--json"]
    code, out, err = dkmeans("ingest", photos, tmp_path / "d", *options)
    assert code == 0, err
    assert json.loads(out)["n_images"] == 5


def test_a_certificate_of_another_ca(encrypted, other_tls, photos, tmp_path, dkmeans):
    options = ["--scheduler", encrypted, *as_arguments(other_tls), "--connect-seconds", "2"]
    began = time.monotonic()
    code, out, err = dkmeans("ingest", photos, tmp_path / "d", *options)
    assert time.monotonic() - began < 20
    assert (code, out) == (5, "")
    (line,) = err.splitlines()
    assert line.startswith(f"error: no scheduler with workers answers at {encrypted}")
    assert "TLS files" in line
    assert Store(str(tmp_path / "d")).list() == []


def test_no_certificate_at_all(encrypted):
    refused(ClusterError, "no scheduler with workers answers at tls://.*TLS files", scheduler=encrypted)


def test_certificates_for_a_scheduler_in_the_clear(workers, tls):
    """Whoever gives certificates is not connected without encryption."""
    address = workers.client.scheduler.address
    error = refused(ClusterError, "tcp://", scheduler=address, **tls)
    assert error.exit_code == 5


def test_an_encrypted_address_where_nothing_is_encrypted(workers, tls):
    address = workers.client.scheduler.address.replace("tcp://", "tls://")
    refused(ClusterError, "no scheduler with workers answers at tls://", scheduler=address, **tls)


@pytest.mark.parametrize(
    "names",
    [["tls_ca"], ["tls_cert"], ["tls_key"], ["tls_ca", "tls_cert"], ["tls_cert", "tls_key"]],
    ids="+".join,
)
def test_one_or_two_of_the_three_files(tls, attempts, names):
    given = {name: tls[name] for name in names}
    error = refused(
        UsageError, "expected --tls-ca, --tls-cert and --tls-key", scheduler="tls://127.0.0.1:1", **given
    )
    for name in names:
        assert f"--{name.replace('_', '-')}" in str(error)
    assert attempts == []


@pytest.mark.parametrize("name", ["tls_ca", "tls_cert", "tls_key"])
def test_a_file_that_is_missing(tls, tmp_path, attempts, name):
    for path in (str(tmp_path / "missing.pem"), str(tmp_path)):
        text = re.escape(f"--{name.replace('_', '-')}: found no file {path}")
        refused(UsageError, text, scheduler="tls://127.0.0.1:1", **{**tls, name: path})
    assert attempts == []


@pytest.mark.parametrize("name", ["tls_ca", "tls_cert", "tls_key"])
def test_a_file_that_is_no_certificate(encrypted, tls, tmp_path, name):
    (tmp_path / "garbage.pem").write_text("no PEM")
    given = {**tls, name: str(tmp_path / "garbage.pem")}
    refused(ClusterError, "TLS files", scheduler=encrypted, **given)


@pytest.mark.parametrize("scheduler", ["auto", "threads", "local", "sync"])
def test_certificates_are_of_no_use_on_this_machine(tls, scheduler):
    refused(UsageError, rf"--tls-ca: --scheduler {scheduler} does not leave", scheduler=scheduler, **tls)


@pytest.mark.parametrize("scheduler", ["auto", "threads", "local", "sync"])
def test_nor_is_a_way_in_the_clear(scheduler):
    text = rf"--insecure: --scheduler {scheduler} does not leave this machine. Pass the address"
    refused(UsageError, text, scheduler=scheduler, insecure=True)


# Versions


@pytest.fixture
def versions(monkeypatch):
    """Have the workers answer with other versions than they have."""
    real = distributed.Client.get_versions

    def claim(**packages):
        async def get_versions(self, *arguments, **options):  # as in the event loop, where it is called
            found = await real(self, *arguments, **options)
            for worker in found["workers"].values():
                worker["packages"].update(packages)
            return found

        monkeypatch.setattr(distributed.Client, "get_versions", get_versions)

    return claim


def test_the_same_versions_need_no_word(workers, capsys):
    events = []
    with connect(ClusterConfig(scheduler=workers.client.scheduler.address), Reporter(log=events.append)):
        pass
    assert events == []
    assert "warning" not in capsys.readouterr().err


@pytest.mark.parametrize("version", ["0.0.1", None])
def test_a_worker_with_another_dkmeans_is_refused(workers, versions, version):
    versions(dkmeans=version)
    address = workers.client.scheduler.address
    text = rf"the worker tcp://\S+ has dkmeans {version}, expected {re.escape(__version__)} as here"
    error = refused(ClusterError, text, scheduler=address)
    assert "Install the same version on all workers." in str(error)


def test_a_worker_with_another_numpy_is_told(workers, versions, capsys):
    import numpy as np

    versions(numpy="1.0.0")
    events = []
    config = ClusterConfig(scheduler=workers.client.scheduler.address)
    with connect(config, Reporter(log=events.append)) as place:
        assert place.run([delayed(square)(2)]) == [4]
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 2  # one for each worker
    for line in warnings:
        assert f"numpy 1.0.0 there, {np.__version__} here" in line
        assert "the worker tcp://" in line
    assert [event["event"] for event in events] == ["warning"] * 2


def test_a_worker_without_a_package_is_told(workers, versions, capsys):
    versions(obstore=None)
    with connect(ClusterConfig(scheduler=workers.client.scheduler.address), Reporter()):
        pass
    assert "obstore None there" in capsys.readouterr().err


# What a stage took


def test_a_stage_is_told_from_its_beginning_to_its_end():
    events = []
    reporter = Reporter(level="warning", log=events.append)
    with connect(ClusterConfig(scheduler="sync"), reporter, "fit"):
        assert [event["event"] for event in events] == ["begin"]
    assert [event["stage"] for event in events] == ["fit", "fit"]
    assert events[0]["n_threads"] == 1
    end = events[1]
    assert (end["event"], end["error"]) == ("end", None)
    assert (end["bytes_read"], end["bytes_written"], end["retries"]) == (0, 0, 0)
    assert end["seconds"] >= 0


@pytest.mark.parametrize("error", [ClusterError("it broke"), KeyboardInterrupt()])
def test_the_end_of_a_stage_names_its_error(error):
    events = []
    with (
        contextlib.suppress(ClusterError, KeyboardInterrupt),
        connect(ClusterConfig(scheduler="sync"), Reporter(level="warning", log=events.append), "fit"),
    ):
        raise error
    assert events[-1]["event"] == "end"
    assert events[-1]["error"] == f"{type(error).__name__}: {error}"


def test_a_stage_whose_workers_are_gone_has_moved_nothing_rather_than_less(workers, tmp_path, monkeypatch):
    """What they had read in an earlier stage is not taken off."""
    events = []
    reporter = Reporter(level="warning", log=events.append)
    with storage_options({}):
        Store(str(tmp_path)).put("a", bytes(1000))
        with connect(workers, reporter, "one"):
            workers.run([workers.task(Store.get)(Store(str(tmp_path)), "a")])
        with connect(workers, reporter, "two"):
            monkeypatch.setattr(workers.client.__class__, "run", lambda *_, **__: {})
    ends = [event for event in events if event["event"] == "end"]
    assert ends[0]["bytes_read"] == 1000
    assert ends[1]["bytes_read"] >= 0


def test_nothing_is_told_of_a_connection_alone():
    events = []
    with connect(ClusterConfig(scheduler="sync"), Reporter(level="warning", log=events.append)):
        pass
    assert events == []


def test_processes_of_a_local_cluster_log_nothing_as_they_close():
    """What a worker leaves running speaks after the silence of the worker has ended."""
    with connect(ClusterConfig(workers=1, threads_per_worker=1), SILENT) as place:
        levels = place.client.run(logging.getLogger("distributed.batched").getEffectiveLevel)
    here = logging.getLogger("distributed.batched").getEffectiveLevel()
    assert [*levels.values(), here] == [logging.CRITICAL] * 2
