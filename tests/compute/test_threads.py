"""Parts of one piece of work in several threads."""

from __future__ import annotations

import threading

import pytest

from dkmeans.compute.threads import share, sharing


def test_parts_come_in_order_and_at_once_only_where_that_is_allowed():
    used = set()
    together = threading.Barrier(2)

    def meet(part):
        used.add(threading.current_thread())
        together.wait(10)  # for the other one
        return part

    with sharing(2):
        assert share(meet, [(number,) for number in range(6)]) == list(range(6))
    assert len(used) == 2
    assert threading.current_thread() not in used
    used.clear()
    together = threading.Barrier(1)
    assert share(meet, [(number,) for number in range(3)]) == [0, 1, 2]
    assert used == {threading.current_thread()}


def test_an_error_of_a_part_comes_back():
    def divide(by):
        return 1 / by

    for n_threads in (1, 3):
        with sharing(n_threads), pytest.raises(ZeroDivisionError):
            share(divide, [(1,), (0,), (2,)])
