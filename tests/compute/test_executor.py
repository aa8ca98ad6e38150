"""Where tasks run: results in order, errors as they were raised, a dead worker survived."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import distributed
import pytest
from dask.delayed import delayed
from distributed.comm.core import CommClosedError

from dkmeans import ClusterConfig, __version__
from dkmeans.compute import executor, waiting
from dkmeans.compute.connecting import connect
from dkmeans.compute.distributed import Distributed
from dkmeans.compute.executor import Task
from dkmeans.compute.in_process import InProcess
from dkmeans.compute.tree import reduced
from dkmeans.errors import ClusterError, ImageError
from dkmeans.events.reporter import SILENT, Reporter
from dkmeans.plan import MIB
from dkmeans.storage import access
from dkmeans.storage.access import storage_options
from dkmeans.storage.store import Store

LOCAL = ClusterConfig(workers=1, threads_per_worker=2, memory_limit="1GiB")


def square(x):
    return x * x


def fail(x):
    raise ImageError(f"{x}.png is broken")


def both(workers):
    return [InProcess(device="cpu"), InProcess(2, device="cpu"), workers]


def each_way(workers):
    """Every executor, with tasks of Dask's and with those that it makes itself."""
    return [(place, make) for place in both(workers) for make in (delayed, place.task)]


def test_results_come_in_order_and_progress_counts(workers):
    for place, make in each_way(workers):
        steps = []
        results = place.run([make(square)(x) for x in range(20)], steps.append)
        assert results == [x * x for x in range(20)]
        assert sum(steps) == 20
        kept = place.persist([make(square)(x) for x in range(3)])
        assert place.run(kept, steps.append) == [0, 1, 4]
        assert sum(steps) == 23


def test_threads_tell_of_each_task_as_it_is_done():
    """The second task waits until it has been told that the first is done."""
    place = InProcess(2)
    for make in (delayed, place.task):
        told = threading.Event()
        tasks = [make(square)(3), make(told.wait)(20)]
        assert place.run(tasks, lambda n, told=told: told.set()) == [9, True]


def test_results_are_checked_as_they_come(workers):
    for place, make in each_way(workers):
        seen = []
        assert place.run([make(square)(x) for x in range(9)], check=seen.append) == [x * x for x in range(9)]
        assert sorted(seen) == [x * x for x in range(9)]


def leave(folder, number):
    time.sleep(0.02)
    (folder / str(number)).touch()
    return number


def test_a_check_that_fails_ends_the_run(workers, tmp_path):
    def check(result):
        raise ImageError("enough")

    for number, (place, make) in enumerate(each_way(workers)):
        folder = tmp_path / str(number)
        folder.mkdir()
        with pytest.raises(ImageError, match="enough"):
            place.run([make(leave)(folder, each) for each in range(200)], check=check)
        time.sleep(0.3)  # those that were under way
        done = len(list(folder.iterdir()))
        time.sleep(0.2)
        assert len(list(folder.iterdir())) == done < 100
        assert place.run([delayed(square)(3)]) == [9]


def test_our_errors_come_back_as_they_were(workers):
    for place, make in each_way(workers):
        with pytest.raises(ImageError, match=r"7\.png is broken"):
            place.run([make(square)(1), make(fail)(7)])


def test_persisted_tasks_run_once(workers, tmp_path):
    def touch(name):
        with open(tmp_path / str(name), "a") as file:
            file.write("x")
        return name

    for number, place in enumerate(both(workers)):
        kept = place.persist([delayed(touch)(number)])
        assert place.run(kept) == place.run(kept) == [number]
        assert (tmp_path / str(number)).read_text() == "x"


def test_a_task_that_kills_its_workers():
    with connect(LOCAL, SILENT) as place:
        with pytest.raises(ClusterError, match=r"was lost with \d+ workers.*memory") as caught:
            place.run([delayed(os._exit)(1)])
        assert caught.value.exit_code == 5


@dataclass(frozen=True)
class Bag:
    inner: object
    name: str = "bag"


def weigh(bag, more=0):
    assert bag.name == "bag"
    return sum(sum(part) for part in bag.inner) + more


def add(*numbers):
    return sum(numbers)


def test_tasks_take_the_values_of_others_wherever_they_lie(workers):
    """In lists, tuples, dicts and dataclasses, of tasks that are done, and of those that are not."""
    for place in both(workers):
        make, measure = place.task(square), place.task(weigh)
        kept = place.persist([make(2), make(3)])
        assert place.run([measure(Bag([kept, (5,)])), measure(Bag(((1,), [7])), more=kept[0])]) == [18, 12]
        assert place.run([measure(Bag([[kept[1], make(4)]]))]) == [25]
        assert place.run([place.task(dict)({"a": kept[0], "b": [1]})]) == [{"a": 4, "b": [1]}]


def test_tasks_of_storage_and_of_dask_go_together(workers):
    for place in both(workers):
        make = place.task(square)
        kept = place.persist([make(2), make(3)])
        assert place.run([delayed(add)(make(5), kept[0], 1), make(6), kept[1]]) == [30, 36, 9]
        again = place.persist([delayed(add)(*kept, make(1))])
        assert place.run([delayed(add)(*again, *kept), make(delayed(square)(2))]) == [27, 16]
        assert reduced(place, add_all, [make(x) for x in range(20)]) == sum(x * x for x in range(20))


def add_all(numbers):
    return sum(numbers)


def test_tasks_of_this_process_need_no_dask(tmp_path):
    code = """
import sys
from dkmeans.compute.in_process import InProcess
for threads in (1, 3):
    place = InProcess(threads, device="cpu")
    make = place.task(pow)
    assert place.run([*place.persist([make(2, 3)]), make(3, 2)]) == [8, 9]
assert "dask" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_interrupt_does_not_wait_for_the_tasks():
    """Ctrl-C comes to the thread that waits, though the others are busy; as in a process of its own."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    place, began = InProcess(2, device="cpu"), time.monotonic()
    timer = threading.Timer(0.3, signal.pthread_kill, [threading.get_ident(), signal.SIGINT])
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            place.run([place.task(time.sleep)(5) for _ in range(4)])
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - began < 4


# Memory


def test_tasks_that_do_not_fit_are_refused_with_numbers():
    with connect(LOCAL, SILENT) as place:  # 1 GiB, two threads
        place.check_memory(300 * MIB, "a fit", "take a smaller --k")
        with pytest.raises(ClusterError) as caught:
            place.check_memory(400 * MIB, "a fit", "take a smaller --k")
    assert str(caught.value) == (
        "a fit takes about 400 MiB a task; a worker with 2 threads needs 1100 MiB and has 1024. "
        "Give it more memory or fewer threads, or take a smaller --k."
    )
    assert caught.value.exit_code == 5


def test_the_memory_of_this_process_counts_too():
    InProcess(3, memory=2000 * MIB).check_memory(500 * MIB, "a fit", "do less")
    with pytest.raises(ClusterError, match="a worker with 4 threads needs 2300 MiB and has 2000"):
        InProcess(4, memory=2000 * MIB).check_memory(500 * MIB, "a fit", "do less")


def test_a_worker_without_a_limit_takes_any_task():
    with (
        distributed.LocalCluster(
            n_workers=1, processes=False, memory_limit=0, dashboard_address="127.0.0.1:0"
        ) as local,
        distributed.Client(local, set_as_default=False) as client,
    ):
        place = Distributed(client, device="cpu")
        place.check_memory(1 << 50, "a fit", "do less")
        assert place.memory_bytes() is None


# Tasks with their storage


def write(url, key, data):
    Store(url).put(key, data)
    return os.getpid()


def test_a_task_runs_by_the_same_dkmeans(workers):
    for place in both(workers):
        assert place.run([place.task(square)(3)]) == [9]


@pytest.mark.parametrize("version", ["0.0.1", f"{__version__}.dev1"])
def test_a_task_of_another_dkmeans_is_refused(workers, version):
    task = Task(square)
    task.version = version
    for place in both(workers):
        with pytest.raises(ClusterError, match="Install the same version on all workers") as caught:
            place.run([delayed(task)(3)])
        assert f"a worker has dkmeans {__version__}, the job {version}" in str(caught.value)


def test_the_version_of_a_task_is_that_of_the_job(workers, monkeypatch):
    monkeypatch.setattr(executor, "__version__", "0.0.1")  # here, not there
    with pytest.raises(ClusterError, match=r"the job 0\.0\.1"):
        workers.run([workers.task(square)(3)])


def test_a_task_is_called_as_its_function_is():
    def _count_them():
        pass

    assert Task(_count_them).__name__ == "count_them"


@pytest.fixture(scope="module")
def bare():
    """Two workers of which none finds credentials in its environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name in environment():
            patch.delenv(name)
        with connect(LOCAL.model_copy(update={"workers": 2, "threads_per_worker": 1}), SILENT) as place:
            yield place


def environment():
    return sorted(name for name in os.environ if name.startswith("AWS_"))


def test_storage_options_go_with_the_tasks_to_the_workers(s3, bare):
    url = f"s3://{s3.bucket}/{uuid.uuid4().hex}"
    assert not any(bare.client.run(environment).values())
    with storage_options(s3.options()):
        Store(url).put("a", b"12345")
        read = bare.task(Store.get)
        assert bare.run([read(Store(url), "a") for _ in range(4)]) == [b"12345"] * 4
        kept = bare.persist([read(Store(url), "a")])
        assert bare.run(kept) == [b"12345"]
    with storage_options({}):  # they were of that job only
        assert dict(access.current_access().options) == {}


def test_traffic_is_summed_over_the_workers(bare, tmp_path):
    url = str(tmp_path)
    with storage_options({}):
        assert bare.tally().items() >= {"bytes_read": 0, "bytes_written": 0, "retries": 0}.items()
        make = bare.task(write)
        futures = [
            bare.client.compute(make(url, f"{number}", bytes(10 + number)), workers=[worker])
            for number, worker in enumerate(sorted(waiting.workers_of(bare.client)))
        ]
        assert len(set(bare.client.gather(futures))) == 2  # processes
        Store(url).put("here", bytes(100))
        Store(url).get("0")
        bare.run([bare.task(Store.get)(Store(url), "1")])
        assert (
            bare.tally().items()
            >= {"bytes_read": 10 + 11, "bytes_written": 100 + 10 + 11, "retries": 0}.items()
        )
        with storage_options({}):
            assert bare.tally().items() >= {"bytes_read": 0, "bytes_written": 0, "retries": 0}.items()


def fail_once(flag):
    if not Path(flag).exists():
        Path(flag).touch()
        raise OSError("the first time it fails")
    return os.getpid()


def test_a_task_that_fails_once_is_run_again_and_counted(bare, tmp_path):
    with storage_options({}):
        (pid,) = bare.run([bare.task(fail_once)(str(tmp_path / "flag"))])
        assert pid != os.getpid()
        assert bare.tally()["retries"] == 1


def fail_always(folder):
    Path(folder, uuid.uuid4().hex).touch()
    raise ImageError("it never works")


def test_a_task_that_always_fails_is_run_three_times(bare, tmp_path):
    with storage_options({}), pytest.raises(ImageError, match="it never works"):
        bare.run([bare.task(fail_always)(str(tmp_path))])
    assert len(list(tmp_path.iterdir())) == 1 + 2


# Workers and schedulers that go


class Processes:
    """A scheduler and workers as processes, each ended by its number."""

    def __init__(self, folder):
        self.file = folder / "scheduler.json"
        self.running = []
        options = ["--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0"]
        self.scheduler = self.start("scheduler", *options)
        while not self.file.exists():
            assert self.scheduler.poll() is None
            time.sleep(0.05)

    def start(self, kind, *options):
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", "--scheduler-file", str(self.file)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.running.append(subprocess.Popen([*command, *options], **quiet))
        return self.running[-1]

    def worker(self):
        return self.start("worker", "--no-nanny", "--nthreads", "1", "--dashboard-address", "127.0.0.1:0")

    def end(self):
        for process in reversed(self.running):
            process.kill()
            process.wait()


@pytest.fixture
def processes(tmp_path):
    found = Processes(tmp_path)
    try:
        yield found
    finally:
        found.end()


@pytest.mark.slow
def test_a_scheduler_that_dies(processes):
    processes.worker()
    events = []
    config, reporter = (
        ClusterConfig(scheduler=str(processes.file)),
        Reporter(level="warning", log=events.append),
    )

    def work():
        with connect(config, reporter, "fit") as place:
            killer = threading.Timer(1, processes.scheduler.kill)
            killer.start()
            place.run([delayed(time.sleep)(30)])

    with pytest.raises(ClusterError, match=r"the scheduler is gone.*--resume"):
        work()
    assert events[-1]["error"].startswith("ClusterError: the scheduler is gone")
    assert events[-1]["seconds"] < 20


@pytest.mark.slow
def test_a_job_whose_workers_are_all_gone_stops(processes):
    worker = processes.worker()
    with connect(ClusterConfig(scheduler=str(processes.file)), SILENT) as place:
        place.patience = 2
        killer = threading.Timer(1, worker.kill)
        killer.start()
        began = time.monotonic()
        with pytest.raises(
            ClusterError,
            match=r"no worker has been connected for 2 s, although.*Start some.*--resume",
        ) as caught:
            place.run([delayed(time.sleep)(30)])
        assert 2 < time.monotonic() - began < 20
        assert caught.value.exit_code == 5
        killer.join()


@pytest.mark.slow
def test_a_job_waits_for_workers_that_come_back(processes, monkeypatch):
    monkeypatch.setattr(waiting, "NO_WORKERS_SECONDS", 10)
    worker = processes.worker()
    with connect(ClusterConfig(scheduler=str(processes.file)), SILENT) as place:
        steps = []
        tasks = [delayed(abs)(-number) for number in range(3)] + [delayed(time.sleep)(1.5)]

        def replace():
            worker.kill()
            processes.worker()

        killer = threading.Timer(0.7, replace)
        killer.start()
        assert place.run(tasks, steps.append) == [0, 1, 2, None]
        killer.join()
        assert sum(steps) == 4


def test_a_long_task_is_no_sign_that_workers_are_gone(workers, monkeypatch):
    monkeypatch.setattr(waiting, "NO_WORKERS_SECONDS", 0.2)
    assert workers.run([delayed(time.sleep)(1.5), delayed(square)(3)]) == [None, 9]


def time_out():
    raise TimeoutError("the task's own")


def test_a_task_that_times_out_ends_the_job(workers):
    """Its error is not taken for our own waiting, which would go on for ever."""
    with pytest.raises(ClusterError, match=r"a task timed out: the task's own\. Continue with --resume"):
        workers.run([delayed(square)(1), delayed(time_out)()])


# Waits


def nested(address, number):
    with distributed.Client(address, set_as_default=False) as client:
        place = Distributed(client, device="cpu")
        return sum(place.run(place.persist([delayed(square)(number), delayed(square)(1)])))


def test_tasks_that_wait_for_tasks_leave_their_threads_to_them(workers):
    """As many as there are threads, and one more."""
    tasks = [delayed(nested)(workers.client.scheduler.address, number) for number in range(3)]
    assert workers.run(tasks) == [1, 2, 5]


@pytest.mark.parametrize("error", [CommClosedError("the connection broke"), AssertionError("tornado's")])
def test_a_fetch_that_breaks_is_done_again_at_once(workers, monkeypatch, error):
    whole, broken = workers.client.scheduler.gather, []

    async def gather(**options):
        if len(broken) < 2:
            broken.append(options)
            raise error
        return await whole(**options)

    monkeypatch.setattr(workers.client.scheduler, "gather", gather, raising=False)
    monkeypatch.setattr(waiting, "NO_WORKERS_SECONDS", 1000)  # no look of ours comes to help
    assert workers.run([delayed(square)(3)]) == [9]
    assert len(broken) == 2


def test_as_completed_loses_a_result_whose_fetch_breaks(workers, monkeypatch, caplog):
    """Why we do not wait by it: a task that is done, and a wait that only its own time limit ends.

    Once distributed hands out such a future, this fails, and `waiting.completed` can be what it stands for.
    """
    whole, broken = workers.client.scheduler.gather, []

    async def gather(**options):
        if not broken:
            broken.append(options)
            raise AssertionError("tornado's")
        return await whole(**options)

    monkeypatch.setattr(workers.client.scheduler, "gather", gather, raising=False)
    future = workers.client.submit(square, 3, pure=False)
    with pytest.raises(TimeoutError):
        list(distributed.as_completed([future], with_results=True, timeout=3))
    assert future.status == "finished"
    assert future.result() == 9


@pytest.mark.parametrize("asked", ["get_versions", "run"])
def test_a_scheduler_that_is_lost_while_the_workers_are_looked_at(processes, monkeypatch, asked):
    async def lost(*_, **__):
        raise CommClosedError("the stream is closed")

    monkeypatch.setattr(distributed.Client, asked, lost)
    processes.worker()
    config = ClusterConfig(scheduler=str(processes.file))
    with pytest.raises(ClusterError, match=r"the scheduler is gone: .*--resume"), connect(config, SILENT):
        pass


@pytest.mark.slow
def test_a_scheduler_that_falls_silent(processes, monkeypatch):
    monkeypatch.setattr(waiting, "NO_WORKERS_SECONDS", 2)
    monkeypatch.setattr(waiting, "SILENT_SECONDS", 2)
    processes.worker()
    with connect(ClusterConfig(scheduler=str(processes.file)), SILENT) as opened:
        place = Distributed(opened.client, call_seconds=1)
        before = place.tally()  # of this process, which other tests have moved bytes in
        processes.scheduler.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(
            ClusterError, match=r"the scheduler is gone: it has not answered for 2 s.*--resume"
        ):
            place.run([delayed(square)(3)])
        for ask in (place.limits, place.n_threads, place.memory_bytes):
            with pytest.raises(ClusterError, match="the scheduler is gone"):
                ask()
        place.everywhere(os.getpid)
        assert place.tally() == before
    assert time.monotonic() - began < 60


@pytest.mark.slow
def test_whatever_asks_a_scheduler_that_died_says_so(processes):
    processes.worker()
    with connect(ClusterConfig(scheduler=str(processes.file), connect_seconds=2), SILENT) as place:
        before = place.tally()  # of this process, which other tests have moved bytes in
        kept = place.persist([delayed(square)(3)])
        rounds = place.rounds(square, kept)
        processes.scheduler.kill()
        for _ in range(2):  # at once, and when the client has noticed
            for ask in (
                place.limits,
                place.n_threads,
                place.memory_bytes,
                lambda: rounds.call(lambda anew: 0),
                lambda: place.run([delayed(square)(3)]),
                lambda: place.run(place.persist([delayed(square)(3)])),
                lambda: place.check_memory(1, "a fit", "do less"),
            ):
                with pytest.raises(ClusterError, match="the scheduler is gone"):
                    ask()
            place.everywhere(os.getpid)
            assert place.tally() == before
            while place.client.status != "closed":
                time.sleep(0.1)


@pytest.mark.parametrize(
    ("n_threads", "n_tasks", "each"), [(4, 1, 4), (4, 2, 2), (4, 3, 1), (4, 9, 1), (1, 1, 1), (4, 0, 4)]
)
def test_threads_that_have_no_task_are_for_those_that_are_there(n_threads, n_tasks, each):
    assert InProcess(n_threads, device="cpu").threads_for(n_tasks) == each


def test_a_task_takes_no_more_threads_than_its_worker_has(workers):
    assert workers.threads_for(1) == min(threads for _, threads in workers.limits())
