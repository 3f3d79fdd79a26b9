"""What a Prometheus server reads about one service."""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, Info, Metric, ProcessCollector
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from enos_ingest import __version__
from enos_ingest.commands.command import State
from enos_ingest.commands.links import IGNORED_REASONS, IgnoredReason
from enos_ingest.endpoint.limits import (
    CLOSED_REASONS,
    KINDS,
    PAUSE_REASONS,
    REFUSED_REASONS,
    ConnectionKind,
    PauseReason,
)
from enos_ingest.http.bounds import REFUSED, Refused
from enos_ingest.logs import dropped_lines
from enos_ingest.outcome import Outcome
from enos_ingest.protocol.codes import Code
from enos_ingest.storage.commands import Kept
from enos_ingest.storage.store import WriterStats

__all__ = ["CONTENT_TYPE", "REPLY_BUCKETS", "Metrics", "Readings"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""The format that every Prometheus, agent and collector reads."""

REPLY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds. A group commit on a good disk takes 1 to 10 ms; a busy store shows in the middle, a full disk at the end."""


@dataclass(frozen=True, slots=True)
class Readings:
    """What is read at the moment of a scrape, each by a call that must not block."""

    connections: Callable[[], int]
    devices_online: Callable[[], int]
    in_flight: Callable[[], int]
    incoming_bytes: Callable[[], int]
    outgoing_bytes: Callable[[], int]
    writer_stats: Callable[[], WriterStats]
    certificate_expires: Callable[[], float | None]
    commands_waiting: Callable[[], int]
    commands_cached: Callable[[], int]
    commands_kept: Callable[[], Kept | None]
    events_deleted: Callable[[], int]


class Metrics(Collector):
    """The counters of one service, in a registry of its own: several services may share a process.

    They are plain numbers, counted and read in the event loop's thread alone, and become metrics when they are read:
    the client library's own counters take a lock each, six times as long, for each of tens of thousands a second.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._uplinks: dict[str, dict[Code, int]] = {}
        """By operation, then by return code."""
        self._reply_buckets = [0] * (len(REPLY_BUCKETS) + 1)
        """How many replies took longer than the bucket before and no longer than this one."""
        self._reply_seconds = 0.0
        self._points_stored = 0
        self._points_skipped = 0
        self._connected: dict[str, int] = dict.fromkeys(KINDS, 0)
        self._refused = dict.fromkeys(REFUSED_REASONS, 0)
        self._closed = dict.fromkeys(CLOSED_REASONS, 0)
        self._publishes_denied = 0
        self._reading_paused: dict[str, int] = dict.fromkeys(PAUSE_REASONS, 0)
        self._oversized = 0
        self._mirror_dropped = 0
        self._model_reloads = {"loaded": 0, "refused": 0}
        self._calls: dict[tuple[str, str], int] = {}
        """By action and code."""
        self._http_refused: dict[str, int] = dict.fromkeys(REFUSED, 0)
        self._commands_ended = {state.name.lower(): 0 for state in State if state.is_final}
        self._answers_ignored: dict[str, int] = dict.fromkeys(IGNORED_REASONS, 0)
        self._registry.register(self)
        Info("enos_ingest", "The program.", registry=self._registry).info({"version": __version__})
        ProcessCollector(registry=self._registry)

    def uplink(self, outcome: Outcome, seconds: float) -> None:
        """Count one uplink, once it is on disk; `seconds` from its receipt until its reply was handed out."""
        try:
            self._uplinks[outcome.operation][outcome.code] += 1
        except KeyError:
            self._uplinks.setdefault(outcome.operation, {})[outcome.code] = 1
        self._reply_buckets[bisect_left(REPLY_BUCKETS, seconds)] += 1
        self._reply_seconds += seconds
        if outcome.record is not None:
            self._points_stored += len(outcome.record.points)
            self._points_skipped += outcome.skipped

    def connected(self, kind: ConnectionKind) -> None:
        """Count one MQTT connection that was accepted."""
        self._connected[kind] += 1

    def refused(self, reason: str) -> None:
        """Count one MQTT connection that was not; `reason` is one of a few words, never a client's text."""
        self._refused[reason] = self._refused.get(reason, 0) + 1

    def closed(self, reason: str) -> None:
        """Count the end of one that was accepted; `reason` as in `refused`."""
        self._closed[reason] = self._closed.get(reason, 0) + 1

    def publish_denied(self) -> None:
        """Count one publish to a topic that is not the client's."""
        self._publishes_denied += 1

    def reading_paused(self, why: PauseReason) -> None:
        """Count one stop in reading from a connection."""
        self._reading_paused[why] += 1

    def oversized(self) -> None:
        """Count one message over `limits.message_bytes`."""
        self._oversized += 1

    def mirror_dropped(self) -> None:
        """Count one message that operators were not shown."""
        self._mirror_dropped += 1

    def model_reloaded(self, result: Literal["loaded", "refused"]) -> None:
        """Count one changed thing model: in force from now on, or refused and the old one kept."""
        self._model_reloads[result] += 1

    def call(self, action: str, code: int) -> None:
        """Count one call of the REST API about commands; `action` is one of a few words, never a caller's text."""
        key = action, str(int(code))
        self._calls[key] = self._calls.get(key, 0) + 1

    def http_refused(self, reason: Refused) -> None:
        """Count one connection or request over HTTP that was refused for what comes at once."""
        self._http_refused[reason] += 1

    def command_ended(self, state: State) -> None:
        """Count one command that has come to its end."""
        self._commands_ended[state.name.lower()] += 1

    def answer_ignored(self, reason: IgnoredReason) -> None:
        """Count one answer of a device that had no effect on any command."""
        self._answers_ignored[reason] += 1

    def watch(self, readings: Readings) -> None:
        """From now on show these readings too; once for a service, when its parts stand."""
        self._registry.register(_Live(readings))

    def render(self) -> bytes:
        """Everything, in the text format of `CONTENT_TYPE`."""
        return generate_latest(self._registry)

    def describe(self) -> list[Metric]:
        """Nothing in advance, as nobody else registers here."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The numbers as they are now."""
        yield _by_labels(
            "enos_ingest_uplinks",
            "Uplinks answered, by operation and return code.",
            ["operation", "code"],
            (
                ((operation, str(int(code))), count)
                for operation, codes in self._uplinks.items()
                for code, count in codes.items()
            ),
        )
        bounds = [*map(floatToGoString, REPLY_BUCKETS), "+Inf"]
        yield HistogramMetricFamily(
            "enos_ingest_reply_seconds",
            "From the receipt of an uplink until its reply was handed out, the commit included.",
            list(zip(bounds, itertools.accumulate(self._reply_buckets), strict=True)),
            self._reply_seconds,
        )
        yield CounterMetricFamily("enos_ingest_points_stored", "Points committed to disk.", self._points_stored)
        yield CounterMetricFamily(
            "enos_ingest_points_skipped",
            "Invalid points left out of a message as its flag allows.",
            self._points_skipped,
        )
        yield _by_label(
            "enos_ingest_connections", "MQTT connections accepted, by what connected.", "kind", self._connected
        )
        yield _by_label(
            "enos_ingest_connections_refused", "MQTT connections refused, by reason.", "reason", self._refused
        )
        yield _by_label(
            "enos_ingest_connections_closed",
            "MQTT connections accepted that have ended, by reason.",
            "reason",
            self._closed,
        )
        yield CounterMetricFamily(
            "enos_ingest_publishes_denied", "Publishes to a topic that the client may not use.", self._publishes_denied
        )
        yield _by_label(
            "enos_ingest_reading_paused",
            "Stops in reading from a connection, by whose limit was reached: its own, or the hub's.",
            "why",
            self._reading_paused,
        )
        yield CounterMetricFamily(
            "enos_ingest_oversized", "Messages over limits.message_bytes, answered 1206 or dropped.", self._oversized
        )
        yield CounterMetricFamily(
            "enos_ingest_mirror_dropped", "Messages of devices that operators were not shown.", self._mirror_dropped
        )
        yield _by_label(
            "enos_ingest_model_reloads", "Changed thing models, by what became of them.", "result", self._model_reloads
        )
        yield CounterMetricFamily(
            "enos_ingest_log_lines_dropped", "Log lines that their reader was too slow for.", dropped_lines()
        )
        yield _by_labels(
            "enos_ingest_calls",
            "Calls about commands over HTTP, by action and code; 499 for callers who hung up.",
            ["action", "code"],
            self._calls.items(),
        )
        yield _by_label(
            "enos_ingest_http_refused",
            "Connections and requests over HTTP beyond a limit on what comes at once, by reason.",
            "reason",
            self._http_refused,
        )
        yield _by_label("enos_ingest_commands_ended", "Commands at their end, by state.", "state", self._commands_ended)
        yield _by_label(
            "enos_ingest_answers_ignored",
            "Answers of devices that had no effect on any command, by reason.",
            "reason",
            self._answers_ignored,
        )


def _by_label(name: str, text: str, label: str, counts: dict[str, int]) -> CounterMetricFamily:
    return _by_labels(name, text, [label], (((value,), count) for value, count in counts.items()))


def _by_labels(
    name: str, text: str, labels: list[str], counts: Iterable[tuple[tuple[str, ...], int]]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=labels)
    for values, count in counts:
        family.add_metric(values, count)
    return family


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
            "enos_ingest_commands_waiting",
            "Instant commands not at their end.",
            now.commands_waiting(),
        )
        yield GaugeMetricFamily(
            "enos_ingest_commands_cached", "Cached commands not at their end.", now.commands_cached()
        )
        kept = now.commands_kept()
        if kept is not None:
            yield GaugeMetricFamily(
                "enos_ingest_commands_kept", "Finished commands kept, as counted within the last minute.", kept.commands
            )
            yield GaugeMetricFamily(
                "enos_ingest_commands_kept_bytes", "Bytes of their texts and payloads, likewise.", kept.size
            )
        yield CounterMetricFamily(
            "enos_ingest_events_deleted", "Events deleted as too old or too many.", now.events_deleted()
        )
        yield GaugeMetricFamily(
            "enos_ingest_incoming_bytes", "Bytes held of packets that are not complete.", now.incoming_bytes()
        )
        yield GaugeMetricFamily(
            "enos_ingest_outgoing_bytes", "Bytes that wait for clients that read slowly.", now.outgoing_bytes()
        )
        expires = now.certificate_expires()
        if expires is not None:
            yield GaugeMetricFamily(
                "enos_ingest_certificate_expires_seconds",
                "When the certificate of the TLS port expires, in seconds since 1970.",
                expires,
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
        yield GaugeMetricFamily(
            "enos_ingest_worst_commit_seconds", "The longest group commit so far.", stats.worst_commit_seconds
        )
        yield GaugeMetricFamily(
            "enos_ingest_unfolded_points", "Points stored that wait in the inbox for the fold.", stats.unfolded_points
        )
        yield GaugeMetricFamily(
            "enos_ingest_fold_up", "1 while the inbox can be folded, else 0.", 1 if stats.fold_failure is None else 0
        )
        yield CounterMetricFamily("enos_ingest_folds", "Folds of the inbox into their places.", stats.folds)
