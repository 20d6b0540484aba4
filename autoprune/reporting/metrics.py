"""Runs as metrics for Prometheus. Needs ``autoprune[metrics]``."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from autoprune.errors import AutopruneError, ConfigError

try:
    from prometheus_client import CollectorRegistry, generate_latest, start_http_server
    from prometheus_client.core import GaugeMetricFamily, Metric, StateSetMetricFamily
    from prometheus_client.registry import Collector
except ImportError as err:
    raise ConfigError(
        "Metrics need prometheus_client. Install it with: pip install 'autoprune[metrics]'"
    ) from err

STATES = ("running", "finished", "stopped")
_GAUGES = {
    "evaluations": "Evaluations of the run that came to their end.",
    "quality": "The task's metric of its best policy on the search split.",
    "macs_share": "MACs of its best policy as a share of the dense model's.",
    "agents": "Agents that work on it.",
}


Runs = Callable[[], Mapping[str, Mapping[str, Any]]]


class RunsCollector(Collector):
    """Reads the runs anew each time that somebody asks for metrics.

    Args:
        runs: Returns what `ListedRun.to_dict` tells of each run, by what names it here.
    """

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    def collect(self) -> Iterator[Metric]:
        """Yield a gauge for each figure, and the states; of a database that is away only that."""
        runs, up = self._read()
        yield GaugeMetricFamily("autoprune_database_up", "Whether it could be read.", value=up)
        for key, text in _GAUGES.items():
            gauge = GaugeMetricFamily(f"autoprune_run_{key}", text, labels=["run"])
            for label, facts in runs.items():
                if facts[key] is not None:
                    gauge.add_metric([label], facts[key])
            yield gauge
        states = StateSetMetricFamily("autoprune_run_state", "What it does.", labels=["run"])
        for label, facts in runs.items():
            states.add_metric([label], {name: name == facts["state"] for name in STATES})
        yield states

    def _read(self) -> tuple[Mapping[str, Mapping[str, Any]], int]:
        try:
            return self._runs(), 1
        except AutopruneError:
            return {}, 0


def text_of(runs: Runs) -> str:
    """Return the metrics in Prometheus's text format."""
    return generate_latest(_registry(runs)).decode()


@contextmanager
def served(runs: Runs, host: str, port: int) -> Iterator[int]:
    """Serve the metrics over HTTP for as long as the block lasts; yield the port.

    Args:
        runs: As for `RunsCollector`.
        host: Address to listen on.
        port: Port, 0 for any that is free.

    Raises:
        ConfigError: If nobody can listen there.
    """
    try:
        server, thread = start_http_server(port, host, _registry(runs))
    except OSError as err:
        raise ConfigError(
            f"Nobody can listen on {host}:{port}: {err.strerror}. Choose another port."
        ) from err
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _registry(runs: Runs) -> CollectorRegistry:
    """Return a registry that holds the runs alone, not the process that tells of them."""
    registry = CollectorRegistry()
    registry.register(RunsCollector(runs))
    return registry
