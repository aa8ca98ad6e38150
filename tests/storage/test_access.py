"""What a process has done for each job."""

from __future__ import annotations

from dkmeans.storage.access import tally_of


def test_a_worker_forgets_the_jobs_that_are_over_and_no_other():
    """However many jobs it works for, it keeps the counts of few."""
    tally_of("over").add(bytes_read=7)
    tally_of("alive").add(bytes_read=7)
    kept = []
    for number in range(2000):
        tally_of(f"job {number}").add(bytes_read=1)
        tally_of("alive").add(bytes_read=1)
        kept.append(tally_of(f"job {number}").bytes_read)
    assert set(kept) == {1}
    assert tally_of("alive").bytes_read == 2007
    assert tally_of("over").bytes_read == 0
