"""What a Prometheus server reads."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from enos_ingest import __version__
from enos_ingest.commands.command import State
from enos_ingest.commands.links import IGNORED_REASONS
from enos_ingest.commands.refusals import RestCode
from enos_ingest.endpoint.limits import CLOSED_REASONS, REFUSED_REASONS
from enos_ingest.http.metrics import REPLY_BUCKETS, Metrics, Readings
from enos_ingest.outcome import Outcome, Point, Record
from enos_ingest.protocol.codes import Code
from enos_ingest.storage.commands import Kept
from enos_ingest.storage.store import WriterStats

Series = dict[tuple[str, tuple[str, ...]], float]


def scrape(metrics: Metrics) -> Series:
    """Every sample as a Prometheus server parses it: by name and its labels' values, in the order of their names."""
    families = text_string_to_metric_families(metrics.render().decode())
    return {
        (sample.name, tuple(sample.labels.values())): sample.value for family in families for sample in family.samples
    }


def stats(failure: str | None = None) -> WriterStats:
    return WriterStats(
        pending=1,
        commits=2,
        committed_records=3,
        committed_points=4,
        failed_commits=5,
        quarantine_rows=6,
        quarantine_bytes=7,
        failure=failure,
        commit_seconds_total=8.5,
        worst_commit_seconds=9.5,
        unfolded_points=14,
        folds=15,
    )


def outcome(operation: str, code: Code = Code.SUCCESS, *, points: int = 0, skipped: int = 0) -> Outcome:
    record = Record([Point("P", "d", "n", time, 1, None, "resume") for time in range(points)]) if points else None
    return Outcome(operation, code, "", "", b"", record, skipped)


KEPT = Kept(commands=21, size=22)


def readings(writer_stats: Callable[[], WriterStats] = stats, kept: Kept | None = KEPT) -> Readings:
    return Readings(
        connections=lambda: 11,
        devices_online=lambda: 12,
        in_flight=lambda: 13,
        commands_waiting=lambda: 16,
        commands_cached=lambda: 17,
        commands_kept=lambda: kept,
        events_deleted=lambda: 23,
        certificate_expires=lambda: 20.0,
        incoming_bytes=lambda: 18,
        outgoing_bytes=lambda: 19,
        writer_stats=writer_stats,
    )


def test_each_count_is_shown_under_its_name() -> None:
    """One call of each method, the names and labels that operators rely on."""
    metrics = Metrics()
    metrics.uplink(outcome("resume_batch", points=7, skipped=2), 0.004)
    metrics.uplink(outcome("resume_batch"), 0.2)
    metrics.uplink(outcome("resume", Code.MODEL_VALIDATE_FAILED), 0.001)
    metrics.connected("device")
    metrics.refused("rate")
    metrics.refused("a new word")
    metrics.closed("slow")
    metrics.closed("another new word")
    metrics.publish_denied()
    metrics.reading_paused("hub")
    metrics.oversized()
    metrics.mirror_dropped()
    metrics.model_reloaded("refused")
    metrics.call("setMeasurepoint", 0)
    metrics.call("setMeasurepoint", RestCode.OFFLINE)
    metrics.http_refused("strangers")
    metrics.command_ended(State.TIMED_OUT)
    metrics.answer_ignored("late")
    series = scrape(metrics)
    assert series["enos_ingest_uplinks_total", ("200", "resume_batch")] == 2
    assert series["enos_ingest_uplinks_total", ("1204", "resume")] == 1
    assert series["enos_ingest_points_stored_total", ()] == 7
    assert series["enos_ingest_points_skipped_total", ()] == 2
    assert series["enos_ingest_connections_total", ("device",)] == 1
    for reason in ("rate", "a new word"):
        assert series["enos_ingest_connections_refused_total", (reason,)] == 1
    for reason in ("slow", "another new word"):
        assert series["enos_ingest_connections_closed_total", (reason,)] == 1
    assert series["enos_ingest_publishes_denied_total", ()] == 1
    assert series["enos_ingest_reading_paused_total", ("hub",)] == 1
    assert series["enos_ingest_oversized_total", ()] == 1
    assert series["enos_ingest_mirror_dropped_total", ()] == 1
    assert series["enos_ingest_model_reloads_total", ("refused",)] == 1
    assert series["enos_ingest_calls_total", ("setMeasurepoint", "0")] == 1
    assert series["enos_ingest_calls_total", ("setMeasurepoint", "11900")] == 1
    assert series["enos_ingest_http_refused_total", ("strangers",)] == 1
    assert series["enos_ingest_http_refused_total", ("address",)] == 0
    assert series["enos_ingest_commands_ended_total", ("timed_out",)] == 1
    assert series["enos_ingest_answers_ignored_total", ("late",)] == 1
    assert series["enos_ingest_info", (__version__,)] == 1


@given(st.lists(st.sampled_from([*REPLY_BUCKETS, 0.0]) | st.floats(0, 60)))
def test_reply_times_are_shown_as_the_client_library_would(seconds: list[float]) -> None:
    """To the byte: buckets that add up, each with its bound in it, their sum and count."""
    registry = CollectorRegistry()
    theirs = Histogram(
        "enos_ingest_reply_seconds",
        "From the receipt of an uplink until its reply was handed out, the commit included.",
        buckets=REPLY_BUCKETS,
        registry=registry,
    )
    metrics = Metrics()
    for each in seconds:
        metrics.uplink(outcome("resume"), each)
        theirs.observe(each)

    def lines(page: bytes) -> list[str]:
        shown = [line for line in page.decode().splitlines() if "enos_ingest_reply_seconds" in line]
        return [line for line in shown if "_created" not in line]

    assert lines(metrics.render()) == lines(generate_latest(registry))


def test_series_with_known_labels_start_at_zero() -> None:
    """A rate over a series that appears with its first event would miss that event."""
    series = scrape(Metrics())
    known = {
        "connections": ("device", "channel", "operator"),
        "connections_refused": REFUSED_REASONS,
        "connections_closed": CLOSED_REASONS,
        "reading_paused": ("connection", "hub", "memory"),
        "model_reloads": ("loaded", "refused"),
        "commands_ended": ("canceled", "expired", "success", "failed", "timed_out"),
        "answers_ignored": IGNORED_REASONS,
    }
    for name, labels in known.items():
        assert [series[f"enos_ingest_{name}_total", (label,)] for label in labels] == [0] * len(labels)


def test_readings_are_taken_at_each_scrape() -> None:
    """Absent before the parts stand; then what they say now, the writer asked once a scrape."""
    asked: list[WriterStats] = []

    def writer_stats() -> WriterStats:
        asked.append(stats("disk full" if asked else None))
        return asked[-1]

    metrics = Metrics()
    assert ("enos_ingest_store_up", ()) not in scrape(metrics)
    metrics.watch(readings(writer_stats))
    assert asked == []
    series = scrape(metrics)
    assert len(asked) == 1
    expected = {
        "enos_ingest_connections_open": 11,
        "enos_ingest_devices_online": 12,
        "enos_ingest_in_flight": 13,
        "enos_ingest_commands_waiting": 16,
        "enos_ingest_commands_cached": 17,
        "enos_ingest_commands_kept": 21,
        "enos_ingest_commands_kept_bytes": 22,
        "enos_ingest_events_deleted_total": 23,
        "enos_ingest_certificate_expires_seconds": 20,
        "enos_ingest_incoming_bytes": 18,
        "enos_ingest_outgoing_bytes": 19,
        "enos_ingest_store_up": 1,
        "enos_ingest_quarantine_rows": 6,
        "enos_ingest_quarantine_bytes": 7,
        "enos_ingest_commits_total": 2,
        "enos_ingest_commits_failed_total": 5,
        "enos_ingest_commit_seconds_total": 8.5,
        "enos_ingest_worst_commit_seconds": 9.5,
        "enos_ingest_unfolded_points": 14,
        "enos_ingest_fold_up": 1,
        "enos_ingest_folds_total": 15,
    }
    assert {name: series[name, ()] for name in expected} == expected
    assert scrape(metrics)["enos_ingest_store_up", ()] == 0


def test_how_many_commands_are_kept_is_not_shown_before_it_is_known() -> None:
    """Which is after the first look at them, a minute after the start."""
    metrics = Metrics()
    metrics.watch(readings(kept=None))
    assert [name for name, _ in scrape(metrics) if name.startswith("enos_ingest_commands_kept")] == []


def test_two_services_in_one_process_count_apart() -> None:
    """Each has a registry of its own."""
    first, second = Metrics(), Metrics()
    first.watch(readings())
    second.watch(readings())
    first.publish_denied()
    assert scrape(first)["enos_ingest_publishes_denied_total", ()] == 1
    assert scrape(second)["enos_ingest_publishes_denied_total", ()] == 0


def test_every_metric_has_a_help_text_and_no_time_of_creation() -> None:
    """The page is what people read first when something is wrong."""
    metrics = Metrics()
    metrics.watch(readings())
    metrics.uplink(outcome("resume"), 0.1)
    families = list(text_string_to_metric_families(metrics.render().decode()))
    assert all(family.documentation for family in families)
    assert not [family.name for family in families if family.name.endswith("_created")]
