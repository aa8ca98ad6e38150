"""Each benchmark runs once, tiny, to keep it alive; no time decides anything here."""

from __future__ import annotations

import bench_pipeline


def test_bench_pipeline(photos):
    reports = bench_pipeline.main([str(photos), "--k", "8", "--max-iter", "2", "--patch", "6"])
    assert reports["ingest"]["n_images"] == 5
    assert reports["fit"]["n_iter"] == 2
    assert reports["compare"]["largest_difference"] <= 0.5 + 1e-9
    assert min(reports[stage]["peak_mib"] for stage in ("ingest", "fit", "reconstruct")) > 50
