"""What a Prometheus server reads."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client.parser import text_string_to_metric_families

from enos_ingest import __version__
from enos_ingest.http.metrics import Metrics, Readings
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
    )


def readings(writer_stats: Callable[[], WriterStats] = stats) -> Readings:
    return Readings(connections=lambda: 11, devices_online=lambda: 12, in_flight=lambda: 13, writer_stats=writer_stats)


def test_each_count_is_shown_under_its_name() -> None:
    """One call of each method, the names and labels that operators rely on."""
    metrics = Metrics()
    metrics.uplink("resume_batch", 200, 0.004)
    metrics.uplink("resume_batch", 200, 0.2)
    metrics.uplink("resume", 1204, 0.001)
    metrics.points(7, 2)
    metrics.points(0)
    metrics.connected("device")
    metrics.refused("signature")
    metrics.publish_denied()
    metrics.model_reloaded("refused")
    series = scrape(metrics)
    assert series["enos_ingest_uplinks_total", ("200", "resume_batch")] == 2
    assert series["enos_ingest_uplinks_total", ("1204", "resume")] == 1
    assert series["enos_ingest_points_stored_total", ()] == 7
    assert series["enos_ingest_points_skipped_total", ()] == 2
    assert series["enos_ingest_connections_total", ("device",)] == 1
    assert series["enos_ingest_connections_refused_total", ("signature",)] == 1
    assert series["enos_ingest_publishes_denied_total", ()] == 1
    assert series["enos_ingest_model_reloads_total", ("refused",)] == 1
    assert series["enos_ingest_reply_seconds_count", ()] == 3
    assert series["enos_ingest_reply_seconds_bucket", ("0.005",)] == 2
    assert series["enos_ingest_info", (__version__,)] == 1


def test_series_with_known_labels_start_at_zero() -> None:
    """A rate over a series that appears with its first event would miss that event."""
    series = scrape(Metrics())
    for kind in ("device", "channel", "operator"):
        assert series["enos_ingest_connections_total", (kind,)] == 0
    for result in ("loaded", "refused"):
        assert series["enos_ingest_model_reloads_total", (result,)] == 0


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
        "enos_ingest_store_up": 1,
        "enos_ingest_quarantine_rows": 6,
        "enos_ingest_quarantine_bytes": 7,
        "enos_ingest_commits_total": 2,
        "enos_ingest_commits_failed_total": 5,
        "enos_ingest_commit_seconds_total": 8.5,
    }
    assert {name: series[name, ()] for name in expected} == expected
    assert scrape(metrics)["enos_ingest_store_up", ()] == 0


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
    metrics.uplink("resume", 200, 0.1)
    families = list(text_string_to_metric_families(metrics.render().decode()))
    assert all(family.documentation for family in families)
    assert not [family.name for family in families if family.name.endswith("_created")]
