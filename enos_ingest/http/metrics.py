"""What a Prometheus server reads about one service."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Histogram, Info, Metric, ProcessCollector
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from enos_ingest import __version__
from enos_ingest.storage.store import WriterStats

__all__ = ["CONTENT_TYPE", "Metrics", "Readings"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""The format that every Prometheus, agent and collector reads."""

_REPLY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds. A group commit on a good disk takes 1 to 10 ms; a busy store shows in the middle, a full disk at the end."""


@dataclass(frozen=True, slots=True)
class Readings:
    """What is read at the moment of a scrape, each by a call that must not block."""

    connections: Callable[[], int]
    devices_online: Callable[[], int]
    in_flight: Callable[[], int]
    writer_stats: Callable[[], WriterStats]


class Metrics:
    """The counters of one service, in a registry of its own: several services may share a process."""

    def __init__(self) -> None:
        registry = _Registry()
        self._registry = registry
        self._uplinks = Counter(
            "enos_ingest_uplinks",
            "Uplinks answered, by operation and return code.",
            ["operation", "code"],
            registry=registry,
        )
        # Looking a child up by its labels costs more than counting: the hot path finds it here by the pair.
        self._uplinks_by_pair: dict[tuple[str, int], Counter] = {}
        self._reply_seconds = Histogram(
            "enos_ingest_reply_seconds",
            "From the receipt of an uplink until its reply was handed out, the commit included.",
            buckets=_REPLY_BUCKETS,
            registry=registry,
        )
        self._points_stored = Counter("enos_ingest_points_stored", "Points committed to disk.", registry=registry)
        self._points_skipped = Counter(
            "enos_ingest_points_skipped", "Invalid points left out of a message as its flag allows.", registry=registry
        )
        self._connections = Counter(
            "enos_ingest_connections", "MQTT connections accepted, by what connected.", ["kind"], registry=registry
        )
        for kind in ("device", "channel", "operator"):
            self._connections.labels(kind)
        self._connections_refused = Counter(
            "enos_ingest_connections_refused", "MQTT connections refused, by reason.", ["reason"], registry=registry
        )
        self._publishes_denied = Counter(
            "enos_ingest_publishes_denied", "Publishes to a topic that the client may not use.", registry=registry
        )
        self._model_reloads = Counter(
            "enos_ingest_model_reloads", "Changed thing models, by what became of them.", ["result"], registry=registry
        )
        for result in ("loaded", "refused"):
            self._model_reloads.labels(result)
        Info("enos_ingest", "The program.", registry=registry).info({"version": __version__})
        ProcessCollector(registry=registry)

    def uplink(self, operation: str, code: int, seconds: float) -> None:
        """Count one answered uplink; `seconds` from its receipt until the reply was handed out."""
        pair = (operation, code)
        child = self._uplinks_by_pair.get(pair)
        if child is None:
            child = self._uplinks_by_pair[pair] = self._uplinks.labels(operation, str(int(code)))
        child.inc()
        self._reply_seconds.observe(seconds)

    def points(self, stored: int, skipped: int = 0) -> None:
        """Count the points of one message, once they are on disk."""
        if stored:
            self._points_stored.inc(stored)
        if skipped:
            self._points_skipped.inc(skipped)

    def connected(self, kind: Literal["device", "channel", "operator"]) -> None:
        """Count one MQTT connection that was accepted."""
        self._connections.labels(kind).inc()

    def refused(self, reason: str) -> None:
        """Count one MQTT connection that was not; `reason` is one of a few words, never a client's text."""
        self._connections_refused.labels(reason).inc()

    def publish_denied(self) -> None:
        """Count one publish to a topic that is not the client's."""
        self._publishes_denied.inc()

    def model_reloaded(self, result: Literal["loaded", "refused"]) -> None:
        """Count one changed thing model: in force from now on, or refused and the old one kept."""
        self._model_reloads.labels(result).inc()

    def watch(self, readings: Readings) -> None:
        """From now on show these readings too; once for a service, when its parts stand."""
        self._registry.register(_Live(readings))

    def render(self) -> bytes:
        """Everything, in the text format of `CONTENT_TYPE`."""
        return generate_latest(self._registry)


class _Registry(CollectorRegistry):
    """Without the time of creation that the client library adds to each series: three dozen lines nobody asks for."""

    def collect(self) -> Iterator[Metric]:
        for metric in super().collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


class _Live(Collector):
    """The readings as metrics; asks the writer once a scrape, so that its numbers fit each other."""

    def __init__(self, readings: Readings) -> None:
        self._readings = readings

    def describe(self) -> list[Metric]:
        """Nothing in advance: registering must not ask parts that may not have started."""
        return []

    def collect(self) -> Iterator[Metric]:
        now = self._readings
        stats = now.writer_stats()
        yield GaugeMetricFamily("enos_ingest_connections_open", "MQTT connections open.", now.connections())
        yield GaugeMetricFamily(
            "enos_ingest_devices_online", "Devices and sub-devices that are online.", now.devices_online()
        )
        yield GaugeMetricFamily(
            "enos_ingest_in_flight", "Uplinks read and not yet committed and answered.", now.in_flight()
        )
        yield GaugeMetricFamily(
            "enos_ingest_store_up", "1 while the store can commit, else 0.", 1 if stats.failure is None else 0
        )
        yield GaugeMetricFamily("enos_ingest_quarantine_rows", "Rejected messages kept.", stats.quarantine_rows)
        yield GaugeMetricFamily(
            "enos_ingest_quarantine_bytes", "Bytes of rejected messages kept.", stats.quarantine_bytes
        )
        yield CounterMetricFamily("enos_ingest_commits", "Group commits.", stats.commits)
        yield CounterMetricFamily("enos_ingest_commits_failed", "Group commits that failed.", stats.failed_commits)
        yield CounterMetricFamily(
            "enos_ingest_commit_seconds", "Seconds spent in group commits.", stats.commit_seconds_total
        )
