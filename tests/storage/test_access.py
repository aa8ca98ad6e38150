"""What a process has moved for each job."""

from __future__ import annotations

from dkmeans.storage.access import traffic_of


def test_a_worker_forgets_the_jobs_that_are_over_and_no_other():
    """However many jobs it works for, it keeps the counts of few."""
    traffic_of("over").add(read=7)
    traffic_of("alive").add(read=7)
    kept = []
    for number in range(2000):
        traffic_of(f"job {number}").add(read=1)
        traffic_of("alive").add(read=1)
        kept.append(traffic_of(f"job {number}").read)
    assert set(kept) == {1}
    assert traffic_of("alive").read == 2007
    assert traffic_of("over").read == 0
