"""What dkmeans shows in the /metrics of Dask's scheduler and workers, for Prometheus.

Dask serves there what a process has registered with prometheus_client, if that is installed. A worker shows
what it has done itself. What the driver alone knows, such as the iteration, it tells the process of the
scheduler, once a second and from a thread of its own, so that no step waits for it. Where it is not
installed, nothing is loaded and nothing told.
"""

from __future__ import annotations

import importlib.metadata
import sys
import threading
import uuid
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dkmeans.compute import waiting
from dkmeans.storage.access import tallies_of_stages

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from dkmeans.events.reporter import Reporter

__all__ = ["serve", "watched"]

COUNTERS = {
    "rows": "Rows assigned to their nearest centers, each as often as it counts",
    "bytes_read": "Bytes read from storage",
    "bytes_written": "Bytes written to storage",
    "retries": "Requests, tasks and parts of a round that failed and were done again",
    "images_read": "Images decoded",
    "images_written": "Images made again from centers or codes",
    "images_skipped": "Images that cannot be used",
}
"""Of each stage, since a process began; the names are those of `dkmeans.storage.access.Tally`."""
GAUGES = {
    "stage_running": "Whether a stage is under way",
    "iteration": "Iterations done by a fit",
    "inertia": "Sum of the squared distances of all rows to their centers",
    "center_shift": "Squared distance that the centers moved in the last iteration",
}
"""Of each stage of a run, on the scheduler."""
PARTS = {
    "part_steps": "Steps of a part of a stage, at most",
    "part_steps_done": "Steps of a part of a stage that are done",
}
"""Of each part of a stage of a run, on the scheduler."""
_SECONDS_BETWEEN = 1.0
_CALL_SECONDS = 2.0
_PROCESS = uuid.uuid4().hex  # tells whether driver and scheduler are one process; no result depends on it
_LOCK = threading.Lock()
_SERVING = threading.Lock()
_Labels = tuple[str, ...]
_State = dict[_Labels, dict[str, float]]
"""Gauges by stage, or by stage and part."""
_told: dict[str, dict[str, dict[str, float]]] = {}
"""What drivers in other processes have done, by process and stage."""
_states: dict[str, _State] = {}
"""What clients have told of their runs; those that are gone are forgotten when another tells something."""
_served = False


def serve() -> bool:
    """Have Dask show the metrics of this process, if it has loaded prometheus_client; whether it does."""
    global _served
    if not _served and "prometheus_client" in sys.modules:
        with _SERVING:
            if not _served:
                from prometheus_client import REGISTRY

                REGISTRY.register(_Collector())
                _served = True
    return _served


class _Collector:
    """What prometheus_client asks at each scrape."""

    def collect(self) -> Iterator[Metric]:
        """Yield each metric with its values."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        with _LOCK:
            told, states = list(_told.values()), dict(_states)
        done = [tallies_of_stages(), *told]
        for name, text in COUNTERS.items():
            sums: dict[str, float] = defaultdict(float)
            for tallies in done:
                for stage, tally in tallies.items():
                    sums[stage] += tally[name]
            counter = CounterMetricFamily(f"dkmeans_{name}", text, labels=["stage"])
            for stage, n in sorted(sums.items()):
                counter.add_metric([stage], n)
            yield counter
        for names, labels in ((GAUGES, ["run", "stage"]), (PARTS, ["run", "stage", "part"])):
            for name, text in names.items():
                gauge = GaugeMetricFamily(f"dkmeans_{name}", text, labels=labels)
                for run, state in states.items():
                    for of, values in state.items():
                        if name in values:
                            gauge.add_metric([run, *of], values[name])
                yield gauge


def _tell(
    process: str, client: str, tallies: dict[str, dict[str, float]], state: _State, dask_scheduler: Any
) -> bool:
    """Note what a driver tells, in the process of the scheduler; whether it is shown."""
    if not serve():
        return False
    with _LOCK:
        if process != _PROCESS:
            _told[process] = tallies
        for gone in _states.keys() - dask_scheduler.clients.keys():
            del _states[gone]
        _states[client] = {**_states.get(client, {}), **state}
    return True


class _Teller:
    """Tells the scheduler of one stage; called with each event of it."""

    def __init__(self, client: Any, stage: str, reporter: Reporter) -> None:
        self.client = client
        self.stage = stage
        self.reporter = reporter
        self.state: _State = {(stage,): {"stage_running": 1}}
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.work, daemon=True)

    def __call__(self, event: dict[str, Any]) -> None:
        """Note the numbers of an event."""
        if event["event"] == "progress":
            steps = {"part_steps": event["total"], "part_steps_done": event["done"]}
            self.state[self.stage, event["part"]] = steps
        elif event["event"] in ("iteration", "fitted"):
            found = {name: event[name] for name in GAUGES if name in event}
            self.state[self.stage,] = {**self.state[self.stage,], **found}

    def work(self) -> None:
        """Tell what is known, now and then and at the end, if anyone can see it."""
        try:
            self.on_scheduler(importlib.metadata.version, "prometheus-client")
        except Exception:  # it is not installed there, or the scheduler is gone, which others tell
            return
        while True:
            over = self.over.is_set()
            try:
                known = tallies_of_stages(), dict(self.state)
                if not self.on_scheduler(_tell, _PROCESS, self.client.id, *known):
                    return
            except ModuleNotFoundError:
                self.reporter.say("the scheduler has no dkmeans: its /metrics does not tell the iteration")
                return
            except Exception:  # of the network: the next time may be better
                pass
            if over:
                return
            self.over.wait(_SECONDS_BETWEEN)

    def on_scheduler(self, function: Any, *arguments: Any) -> Any:
        return waiting.ask(
            self.client, lambda: self.client.run_on_scheduler(function, *arguments), _CALL_SECONDS
        )

    def end(self) -> None:
        """Tell the last of it."""
        self.state[self.stage,] = {**self.state[self.stage,], "stage_running": 0}
        self.over.set()
        self.thread.join()


@contextmanager
def watched(client: Any, stage: str, reporter: Reporter) -> Iterator[_Teller]:
    """Tell the scheduler of `client` how far a stage is, from the events that what is yielded takes."""
    teller = _Teller(client, stage, reporter)
    teller.thread.start()
    try:
        yield teller
    finally:
        teller.end()
