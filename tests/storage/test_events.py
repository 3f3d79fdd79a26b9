"""How long events are kept: by when they came, and by how many there are."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pytest

from enos_ingest import service as service_module
from enos_ingest.devices.changes import EventReported
from enos_ingest.errors import StorageError
from enos_ingest.outcome import Record
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.storage import facts as facts_module
from enos_ingest.storage import purge as purge_module
from enos_ingest.storage.facts import SqliteFacts, purge_events
from enos_ingest.storage.sqlite import connect_writer
from enos_ingest.storage.versions import VERSIONS
from tests.endpoint.site import metric
from tests.endpoint.waiting import eventually
from tests.storage.samples import commit, open_writer, point, record

if TYPE_CHECKING:
    from enos_ingest.testing import HubFactory

DEVICE, OTHER = DeviceId("P", "d"), DeviceId("P", "other")


def event(received: int, *, time: int | None = None, device: DeviceId = DEVICE) -> EventReported:
    """An event that came then; its device says that it happened long after."""
    return EventReported(device, "alarm", 1000 - received if time is None else time, {"n": received}, "post", received)


def save(path: Path, *events: EventReported) -> None:
    """Store events, one a message."""

    async def run() -> None:
        async with open_writer(path) as writer:
            for each in events:
                await commit(writer, Record([], changes=(each,)))

    asyncio.run(run())


def kept(path: Path) -> list[int]:
    """When those came that are there."""
    with SqliteFacts(path) as facts:
        return sorted(each.received for device in (DEVICE, OTHER) for each in facts.events(device))


def test_events_go_by_when_they_came(tmp_path: Path) -> None:
    """Whatever time their device gave them: what came before the time goes, what came at it stays."""
    path = tmp_path / "x.db"
    save(path, *(event(received) for received in range(1, 6)), event(2, device=OTHER))
    assert purge_events(path, before=3, keep=100) == (3, 3, True)
    assert purge_events(path, before=3, keep=100) == (0, 3, True)
    assert kept(path) == [3, 4, 5]


def test_the_first_beyond_the_number_go(tmp_path: Path) -> None:
    """Of all devices together."""
    path = tmp_path / "x.db"
    save(path, *(event(received) for received in range(1, 6)), event(2, device=OTHER))
    assert purge_events(path, before=0, keep=6) == (0, 6, True)
    assert purge_events(path, before=0, keep=3) == (3, 3, True)
    assert kept(path) == [3, 4, 5]
    assert purge_events(path, before=0, keep=0) == (3, 0, True)


def test_an_event_that_is_sent_again_is_kept_from_then_on(tmp_path: Path) -> None:
    """It takes the place of the first."""
    path = tmp_path / "x.db"
    save(path, event(1, time=7), event(2, time=8), event(3, time=7))
    assert purge_events(path, before=0, keep=1).deleted == 1
    assert kept(path) == [3]


def test_a_purge_goes_by_slices_between_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer gets its turn all along."""
    monkeypatch.setattr(purge_module, "PURGE_ROWS", 10)
    path = tmp_path / "x.db"

    async def run() -> int:
        async with open_writer(path) as writer:
            await commit(writer, Record([], changes=tuple(event(received) for received in range(1, 501))))
            purge = asyncio.create_task(asyncio.to_thread(purge_events, path, 0, 50))
            between = 0
            while not purge.done():
                await commit(writer, record(point(1, time=between)))
                between += not purge.done()
            assert (await purge) == (450, 50, True)
            assert writer.stats().failed_commits == 0
            return between

    assert asyncio.run(run()) > 5
    assert kept(path) == list(range(451, 501))


def test_a_purge_that_ends_early_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When its time is over it leaves the rest, and who called it calls again."""
    monkeypatch.setattr(purge_module, "PURGE_ROWS", 2)
    path = tmp_path / "x.db"
    save(path, *(event(received) for received in range(1, 11)))
    clock = iter(range(100))
    with monkeypatch.context() as patch:
        # Each look at the clock takes a second: four slices fit.
        patch.setattr(purge_module, "monotonic", lambda: next(clock))
        assert purge_events(path, before=100, keep=0) == (8, 2, False)
    assert purge_events(path, before=100, keep=0) == (2, 0, True)


def test_a_locked_database_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has not gone goes another time."""
    path = tmp_path / "x.db"
    save(path, event(1))
    monkeypatch.setattr("enos_ingest.storage.sqlite.OPEN_BUSY_MS", 1)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="locked by another program"):
            purge_events(path, before=10, keep=0)
    assert kept(path) == [1]


def test_those_that_go_are_found_without_a_scan(tmp_path: Path) -> None:
    """A million others are not looked at."""
    path = tmp_path / "x.db"
    with closing(connect_writer(path)) as connection:
        for query in facts_module._PURGE_EVENTS:  # noqa: SLF001 - the statements as they are run
            parameters = (1,) * query.count("?")
            steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", parameters)]
            assert not any("SCAN events" in step and "INDEX" not in step for step in steps), steps
            assert not any("TEMP B-TREE FOR ORDER BY" in step for step in steps), steps


def test_events_of_version_four_came_no_later_than_now(tmp_path: Path) -> None:
    """When they came was not stored: they are kept from their migration on."""
    path = tmp_path / "x.db"
    with closing(connect_writer(path, versions=VERSIONS[:4])) as connection:
        connection.execute("INSERT INTO events VALUES ('P', 'd', 'alarm', 7, '{}', 0)")
    with closing(connect_writer(path)) as connection:
        before, after = 1_700_000_000_000, connection.execute("SELECT strftime('%s', 'now') * 1000").fetchone()[0]
    assert before < kept(path)[0] <= after


def test_a_hub_keeps_no_more_than_it_may(enos_hub: HubFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked at from time to time, counted; points and the other events stay."""
    monkeypatch.setattr(service_module, "_PURGE_SECONDS", 0.01)
    monkeypatch.setattr(purge_module, "PURGE_SECONDS", 0.001)
    monkeypatch.setattr(purge_module, "PURGE_ROWS", 1)
    document = {
        "modelId": "m",
        "measurepoints": {"n": {"identifier": "n", "dataType": "INT"}},
        "events": {"alarm": {"identifier": "alarm", "outputData": [{"identifier": "n", "dataType": "INT"}]}},
    }
    registry = {
        "products": [{"key": "P", "model": "m"}],
        "devices": [{"product": "P", "key": "d", "secret": "s"}],
    }
    hub = enos_hub(registry=registry, models=[document], settings={"limits.event_rows": 3})
    with hub.connect("P/d") as device:
        assert device.post({"n": 1}, time=1)["code"] == 200
        for number in range(20):
            request = {"id": "1", "version": "1.0", "params": {"events": {"n": number}, "time": number}}
            topic = "/sys/P/d/thing/event/alarm/post"
            assert device.request(topic, orjson.dumps({**request, "method": "thing.event.alarm.post"}))["code"] == 200
        eventually(lambda: metric(hub, "enos_ingest_events_deleted_total") == 17)
        with SqliteFacts(hub.database) as facts:
            assert sorted(each.fields["n"] for each in facts.events(DeviceId("P", "d"))) == [17, 18, 19]
        assert len(hub.points("P/d")) == 1
