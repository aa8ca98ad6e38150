"""What Prometheus is given names labels and ports that the pods have."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"


def load(name):
    return yaml.safe_load((DEPLOY / f"{name}.yaml").read_text())


def test_the_pod_monitor():
    found = load("monitoring/podmonitor")
    assert (found["apiVersion"], found["kind"]) == ("monitoring.coreos.com/v1", "PodMonitor")
    assert set(found["spec"]) == {"selector", "podMetricsEndpoints"}
    assert found["spec"]["selector"] == {"matchLabels": {"dask.org/cluster-name": "dkmeans"}}
    ends = found["spec"]["podMetricsEndpoints"]
    assert [end["port"] for end in ends] == ["http-dashboard", "http-worker"]
    assert {end["path"] for end in ends} == {"/metrics"}


@pytest.mark.parametrize("name", ["job/job", "cluster/cluster"])
def test_prometheus_finds_the_ports_of_the_pods(name, check_core):
    """Those that the monitor names, that the processes listen on, and that the network policy opens."""
    policy = load("monitoring/networkpolicy")
    check_core(policy)
    (rule,) = policy["spec"]["ingress"]
    spec = load(f"kubernetes/{name}")["spec"]
    spec = spec.get("cluster", {"spec": spec})["spec"]
    containers = [spec[part]["spec"]["containers"][0] for part in ("scheduler", "worker")]
    ports = {port["name"]: port["containerPort"] for each in containers for port in each["ports"]}
    ends = load("monitoring/podmonitor")["spec"]["podMetricsEndpoints"]
    assert [ports[end["port"]] for end in ends] == [port["port"] for port in rule["ports"]] == [8787, 8788]
    assert containers[0]["args"][-2:] == ["--dashboard-address", ":8787"]
    assert "--dashboard-address=:8788" in containers[1]["args"]
