"""Rounds: all values once, in one call for each process; what cannot be done is left, and told."""

from __future__ import annotations

import threading
import time
from collections import Counter
from types import MethodType

import distributed
import pytest
from dask.delayed import delayed
from distributed.core import Status

from dkmeans.compute import hands
from dkmeans.compute.distributed import Distributed
from dkmeans.compute.in_process import InProcess
from dkmeans.compute.rounds import dealt
from dkmeans.errors import ClusterError

N = 30


class Adding:
    """Adds what it is told to each value, and counts the rounds that its process has seen."""

    def __init__(self):
        self.seen = 0

    def begin(self, message):
        number, more = message
        if number is not None and number != self.seen + 1:
            raise ValueError("does not follow")
        self.seen = number or self.seen + 1
        return more

    def do(self, number, value, begun):
        if begun == "fail":
            raise RuntimeError(f"no {number}")
        return {number: value + begun}

    def merge(self, results):
        counted = Counter(number for part in results for number in part)
        assert set(counted.values()) <= {1}
        return {number: value for part in results for number, value in part.items()}


def make(number):
    return 100 * number


def hand_of(worker):
    return worker.handlers["dkmeans_round"].__self__


def begin(place, n=N, work=None):
    tasks = place.persist([delayed(make)(number) for number in range(n)])
    return place.rounds(work or Adding(), tasks)


def found(rounds, more, number=None):
    results, left = rounds.call(lambda anew: (None if anew else number, more))
    return Adding().merge(results) if results else {}, left


def expected(more, numbers=range(N)):
    return {number: 100 * number + more for number in numbers}


def workers_here(n, threads_per_worker=1):
    """Workers in this process; with a limit each would take the memory of all tests for its own."""
    return distributed.LocalCluster(
        n_workers=n,
        threads_per_worker=threads_per_worker,
        processes=False,
        memory_limit=0,
        dashboard_address="127.0.0.1:0",
    )


@pytest.fixture(scope="module")
def many():
    """Twenty workers, which the driver calls in two levels."""
    with (
        workers_here(20, threads_per_worker=2) as local,
        distributed.Client(local, set_as_default=False) as client,
    ):
        yield Distributed(client, device="cpu")


@pytest.mark.parametrize("n_threads", [1, 2, 7, 100])
def test_each_value_is_taken_once(n_threads):
    values = {number: number for number in range(50)}
    calls = dealt(Adding(), values, 7, n_threads)
    assert len(calls) == min(n_threads, 50)
    results = [result for call in calls for result in call()]
    assert Adding().merge(results) == {number: number + 7 for number in range(50)}


def test_after_an_error_no_more_values_are_taken():
    class Failing(Adding):
        def do(self, number, value, begun):
            begun.append(number)
            if number == 3:
                raise RuntimeError("no 3")
            return {}

    seen: list[int] = []
    first, second = dealt(Failing(), dict.fromkeys(range(9), 0), seen, 2)
    with pytest.raises(RuntimeError, match="no 3"):
        first()
    assert second() == []
    assert seen == [0, 1, 2, 3]


def test_values_are_shared_by_threads_as_they_come():
    """A value that takes long keeps one thread; the other does the rest."""
    free = threading.Event()
    where: dict[int, int] = {}

    class Slow(Adding):
        def do(self, number, value, begun):
            where[number] = threading.get_ident()
            if number == 0:
                assert free.wait(20)
            if number == 5:
                free.set()
            return {number: value}

    rounds = InProcess(2).rounds(Slow(), InProcess(2).persist([delayed(make)(each) for each in range(6)]))
    assert rounds.call(lambda anew: (None, 0))[1] == []
    assert len({where[number] for number in range(1, 6)}) == 1
    assert where[0] != where[1]


def test_small_rounds_stay_in_the_thread_that_asks():
    here: list[bool] = []

    class Noting(Adding):
        def do(self, number, value, begun):
            here.append(threading.current_thread() is threading.main_thread())
            return {number: value}

    place = InProcess(3)
    rounds = place.rounds(Noting(), place.persist([delayed(make)(each) for each in range(9)]))
    rounds.call(lambda anew: (None, 0), small=True)
    assert all(here)
    here.clear()
    rounds.call(lambda anew: (None, 0))
    assert not any(here)


def test_all_places_give_the_same(workers, threads, many):
    for place in (InProcess(), InProcess(3), workers, threads, many):
        rounds = begin(place)
        for number in range(1, 4):
            results, left = found(rounds, number, number)
            assert left == []
            assert results == expected(number)
        rounds.close()


def test_a_round_is_one_call_for_each_worker(many, monkeypatch):
    """The driver calls eight, these the next."""
    calls: Counter[str] = Counter()
    sent: list[tuple[str, str]] = []
    answer, send = hands.Hand.answer, hands.Hand._send

    async def counted(self, *arguments, **options):
        calls[self.worker.address] += 1
        return await answer(self, *arguments, **options)

    async def noted(self, address, **call):
        sent.append((self.worker.address, address))
        return await send(self, address, **call)

    rounds = begin(many, 200)
    assert found(rounds, 1)[1] == []
    monkeypatch.setattr(hands.Hand, "_send", noted)
    for worker in many.client.cluster.workers.values():
        monkeypatch.setitem(worker.handlers, "dkmeans_round", MethodType(counted, hand_of(worker)))
    assert found(rounds, 2, 2) == (expected(2, range(200)), [])
    addresses = addresses_of(rounds)
    assert len(addresses) > 9
    assert len(rounds.trees) == 8
    assert calls == dict.fromkeys(addresses, 1)
    assert len(sent) == len(addresses) - 8
    rounds.close()


def addresses_of(rounds):
    return [address for tree in rounds.trees for address in tree.addresses()]


@pytest.mark.parametrize("n", [0, 1, 2, 8, 9, 72, 73, 200])
def test_the_trees_have_each_worker_once(n):
    where = {f"tcp://10.0.0.{number}": {number: f"key-{number}"} for number in range(n)}
    trees = hands._trees(where)
    addresses = [address for tree in trees for address in tree.addresses()]
    assert sorted(addresses) == sorted(where)
    assert sorted(hands._numbers(trees)) == list(range(n))

    def depth(nodes):
        return 1 + max(depth(node.others) for node in nodes) if nodes else 0

    assert depth(trees) == {0: 0, 1: 1, 2: 1, 8: 1, 9: 2, 72: 2, 73: 3, 200: 3}[n]


def test_values_that_have_moved_are_left_and_found_again():
    with (
        workers_here(3) as local,
        distributed.Client(local, set_as_default=False) as client,
    ):
        rounds = begin(Distributed(client, device="cpu"))
        assert found(rounds, 1) == (expected(1), [])
        tree = rounds.trees[1]
        gone = next(worker for worker in local.workers.values() if worker.address == tree.address)
        client.retire_workers([tree.address])
        until(lambda: gone.status is Status.closed)
        results, left = found(rounds, 2, 2)
        assert left == sorted(tree.keys)
        assert results == expected(2, set(range(N)).difference(left))
        assert found(rounds, 3) == (expected(3), [])
        assert tree.address not in addresses_of(rounds)
        rounds.close()


def test_a_worker_that_has_forgotten_leaves_its_values_and_those_below(many):
    rounds = begin(many, 200)
    assert found(rounds, 1)[1] == []
    tree = rounds.trees[0]
    assert tree.others
    for worker in many.client.cluster.workers.values():
        if worker.address == tree.address:
            del hand_of(worker).known[rounds.name]
    results, left = found(rounds, 2, 2)
    assert left == sorted(tree.numbers())
    assert results == expected(2, set(range(200)).difference(left))
    results, left = found(rounds, 3)
    assert (results, left) == (expected(3, range(200)), [])
    rounds.close()


def test_rounds_are_forgotten_when_they_are_closed_or_their_values_are_gone(many):
    rounds, other = begin(many), begin(many)
    assert found(rounds, 1)[1] == found(other, 1)[1] == []
    workers = [each for each in many.client.cluster.workers.values() if "dkmeans_round" in each.handlers]
    plugins = [hand_of(worker) for worker in workers]
    rounds.close()
    assert {name for plugin in plugins for name in plugin.known} == {other.name}
    addresses = set(addresses_of(other))
    name = other.name
    del other, rounds  # as if the driver had died; its values go
    until(lambda: not any(worker.data for worker in many.client.cluster.workers.values()))
    later = begin(many, 200)
    found(later, 1)
    assert addresses <= set(addresses_of(later))
    assert all(name not in plugin.known for plugin in plugins)
    later.close()


def until(condition):
    end = time.monotonic() + 60  # Dask may try for 30 s to reach a worker that has just died
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_errors_are_left_to_tasks(many, monkeypatch):
    rounds = begin(many)
    results, left = found(rounds, "fail")
    assert (results, left) == ({}, list(range(N)))
    assert found(rounds, 5) == (expected(5), [])
    results, left = found(rounds, 7, 7)  # which does not follow
    assert (results, left) == ({}, list(range(N)))
    monkeypatch.setattr(hands, "__version__", "0.0")  # of the driver and the workers, which are here
    assert found(rounds, 6) == (expected(6), [])
    rounds.close()


def test_another_version_does_nothing(many):
    rounds = begin(many)
    worker = next(iter(many.client.cluster.workers.values()))
    plugin = hand_of(worker)
    with pytest.raises(ClusterError, match="not known"):
        many.client.sync(
            plugin.answer, rounds.name, "0.0", (hands._Node(worker.address, {}), Adding()), (None, 1)
        )
    assert rounds.name not in plugin.known
    rounds.close()


def test_a_driver_that_reaches_the_scheduler_alone_goes_through_it(workers, monkeypatch):
    connect, scheduler = workers.client.rpc.connect, workers.client.scheduler.address

    async def unreachable(address, *arguments, **options):
        if address != scheduler:
            raise OSError(f"no way to {address}")
        return await connect(address, *arguments, **options)

    rounds = begin(workers)
    monkeypatch.setattr(workers.client.rpc, "connect", unreachable)
    for number in range(1, 4):
        assert found(rounds, number, number) == (expected(number), [])
    assert not rounds.direct
    rounds.close()


def test_a_worker_without_the_handler_leaves_all(threads):
    rounds = begin(threads)
    assert found(rounds, 1) == (expected(1), [])
    for worker in threads.client.cluster.workers.values():
        worker.handlers.pop("dkmeans_round")
    assert found(rounds, 2, 2) == ({}, list(range(N)))
    assert found(rounds, 3) == (expected(3), [])  # it has got one again
    rounds.close()


def keep(dask_worker):
    """Lend no hand."""


def test_what_never_works_is_not_tried_for_ever(threads, monkeypatch):
    rounds, plans = begin(threads), []
    plan = rounds._plan
    monkeypatch.setattr(rounds, "_plan", lambda: plans.append(1) or plan())
    monkeypatch.setattr(hands, "_lend", keep)
    for worker in threads.client.cluster.workers.values():
        worker.handlers.pop("dkmeans_round", None)
    for _ in range(9):
        assert found(rounds, 1) == ({}, list(range(N)))
    assert len(plans) == 3


class Dying(Adding):
    """Ends the process of the worker that has value 0."""

    def do(self, number, value, begun):
        if number == 0 and begun == "die":
            __import__("os")._exit(1)
        return {number: value + (0 if begun == "die" else begun)}


class Stuck(Adding):
    """Waits on value 0 until all is over."""

    over = threading.Event()

    def do(self, number, value, begun):
        if number == 0 and begun == "wait":
            self.over.wait(30)
        return {number: value + (0 if begun == "wait" else begun)}


def test_a_worker_that_dies_in_a_round_leaves_its_values():
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as local,
        distributed.Client(local, set_as_default=False) as client,
    ):
        place = Distributed(client, device="cpu")
        rounds = begin(place, work=Dying())
        assert found(rounds, 1)[1] == []
        dying = next(tree for tree in rounds.trees if 0 in tree.keys)
        results, left = found(rounds, "die", 2)
        assert left == sorted(dying.keys)
        assert sorted([*left, *results]) == list(range(N))
        until(lambda: found(rounds, 3) == (expected(3), []))  # the values are made again
        rounds.close()


def test_a_worker_that_is_given_up_in_a_round_leaves_its_values(monkeypatch):
    """It answers no more, but its connection stands: the scheduler has to say that it is gone."""
    monkeypatch.setattr(hands, "_LOOK_SECONDS", 0.2)
    with (
        workers_here(2) as local,
        distributed.Client(local, set_as_default=False) as client,
    ):
        rounds = begin(Distributed(client, device="cpu"), work=Stuck())
        assert found(rounds, 1)[1] == []
        trees = rounds.trees
        stuck = next(tree.address for tree in rounds.trees if 0 in tree.keys)
        threading.Timer(
            1, lambda: client.sync(client.scheduler.retire_workers, workers=[stuck], close_workers=False)
        ).start()
        results, left = found(rounds, "wait", 2)
        assert left == sorted(next(tree.keys for tree in trees if tree.address == stuck))
        assert results == expected(0, set(range(N)).difference(left))
        Stuck.over.set()


def test_a_scheduler_that_is_gone_is_said():
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, memory_limit=0, dashboard_address="127.0.0.1:0"
    ) as local:
        client = distributed.Client(local, set_as_default=False)
        rounds = begin(Distributed(client, device="cpu"))
        assert found(rounds, 1)[1] == []
        client.close()
        with pytest.raises(ClusterError, match="the scheduler is gone"):
            found(rounds, 2, 2)
        rounds.close()
