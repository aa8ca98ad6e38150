"""What Prometheus is given names labels and ports that the pods have."""

from __future__ import annotations

from pathlib import Path

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"


def test_the_pod_monitor():
    found = yaml.safe_load((DEPLOY / "monitoring" / "podmonitor.yaml").read_text())
    assert (found["apiVersion"], found["kind"]) == ("monitoring.coreos.com/v1", "PodMonitor")
    assert set(found["spec"]) == {"selector", "podMetricsEndpoints"}
    assert found["spec"]["selector"] == {"matchLabels": {"dask.org/cluster-name": "dkmeans"}}
    ends = found["spec"]["podMetricsEndpoints"]
    assert [end["port"] for end in ends] == ["http-dashboard", "http-worker"]
    assert {end["path"] for end in ends} == {"/metrics"}
