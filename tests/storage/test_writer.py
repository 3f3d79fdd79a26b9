"""The writer: what is stored, when futures complete, what one bad record does."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enos_ingest.devices.directory import Device, Directory, Product
from enos_ingest.errors import StorageError, StoreClosedError
from enos_ingest.outcome import Point, Record
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.storage import database
from enos_ingest.storage.group import MAX_POINTS, MAX_RECORDS
from enos_ingest.storage.reader import SqliteReader
from enos_ingest.storage.registry import open_registry
from enos_ingest.storage.writer import SqliteWriter
from tests.storage.samples import DEVICE, PRODUCT, commit, open_writer, point, record, rejection, stored

GATEWAY = DeviceId(PRODUCT, DEVICE)


def store(path: Path, *records: Record) -> None:
    async def run() -> None:
        async with open_writer(path) as writer:
            await asyncio.gather(*[commit(writer, each) for each in records])

    asyncio.run(run())


def same(left: Any, right: Any) -> bool:
    """Equal in type and digits too: 3 is not 3.0, 0.0 is not -0.0, true is not 1."""
    return orjson.dumps(left) == orjson.dumps(right) and type(left) is type(right)


@pytest.mark.parametrize(
    "value",
    [
        0, 3, 3.0, -0.0, 0.0, 1.02, 1e300, 5e-324, 2**53 + 1, 2**63 - 1, -(2**63), 1.8446744073709552e19,
        True, False, None, "", "1.02", "null", "héllo", "\U0001f600", "a\0b",
        "\0", 'q"\\/\b\n', "\u2028", "x" * 100_000,
        [], [1, 2.0, "3"], {}, {"a": {"b": [True, None, -0.0, "\0"]}}, {"": 0, "k\0": [9223372036854775807]},
    ],
)  # fmt: skip
def test_values_come_back_as_sent(tmp_path: Path, value: Any) -> None:
    """A value keeps its type and every digit."""
    path = tmp_path / "x.db"
    store(path, record(point(value)))
    assert same(stored(path)[0].value, value)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=20,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(json_values, min_size=1, max_size=20))
def test_any_json_comes_back_as_sent(tmp_path_factory: pytest.TempPathFactory, values: list[Any]) -> None:
    """Whatever JSON can say is stored and read without loss, in one record or many."""
    path = tmp_path_factory.mktemp("any") / "x.db"
    expected = [point(value, time=time) for time, value in enumerate(values)]
    store(path, record(*expected[::2]), *[record(each) for each in expected[1::2]])
    found = stored(path)
    assert [each._replace(value=None) for each in found] == [each._replace(value=None) for each in expected]
    assert all(same(left.value, right.value) for left, right in zip(found, expected, strict=True))


@pytest.mark.parametrize("name", ["temp", "a.b.c", "Temp", "", "\U0001f600", "nul\0in it", "quote'\"", "x" * 3000])
def test_any_measurement_point_name(tmp_path: Path, name: str) -> None:
    """Names are data: case, dots, quotes and NUL are kept, in the first and in a later commit."""
    path = tmp_path / "x.db"
    store(path, record(point(1, name=name, time=1)))
    store(path, record(point(2, name=name, time=2)), record(point(3, name=name + "!", time=1)))
    assert stored(path) == [
        point(1, name=name, time=1), point(2, name=name, time=2), point(3, name=name + "!", time=1)
    ]  # fmt: skip


def test_storing_again_changes_nothing(tmp_path: Path) -> None:
    """A repeat of a message leaves the same points."""
    path = tmp_path / "x.db"
    message = record(point(1, time=1), point(2, time=2), point("x", name="state", time=1))
    store(path, message)
    before = stored(path)
    store(path, message, message)
    assert stored(path) == before == sorted(message.points, key=lambda each: (each.measurepoint, each.time))


def test_the_last_of_one_time_wins(tmp_path: Path) -> None:
    """Of several points of one time the last wins, with its quality and origin: within a record, a group, later."""
    path = tmp_path / "x.db"
    store(
        path,
        record(point(1, quality=7, origin="resume"), point(2, quality=None, origin="post")),
        record(point(9, name="other"), point(8, name="other", quality=1)),
        record(point(7, name="other", origin="integration")),
    )
    assert stored(path) == [point(7, name="other", origin="integration"), point(2)]
    store(path, record(point(3, quality=4, origin="resume")))
    assert stored(path)[1] == point(3, quality=4, origin="resume")


def test_the_same_name_of_two_devices(tmp_path: Path) -> None:
    """Points belong to product, device and name together."""
    path = tmp_path / "x.db"
    elsewhere = [
        Point(PRODUCT, "gw-2", "temp", 1, 2, None, "post"),
        Point("Other", DEVICE, "temp", 1, 3, None, "post"),
    ]
    store(path, record(point(1), *elsewhere))
    assert stored(path) == [point(1)]
    with SqliteReader(path) as reader:
        assert [*reader.points(PRODUCT, "gw-2"), *reader.points("Other", DEVICE)] == elsewhere


def test_futures_complete_after_the_commit_and_in_order(tmp_path: Path) -> None:
    """At the moment a future completes, another connection sees its points; futures complete as handed in."""
    path = tmp_path / "x.db"
    order: list[int] = []
    missing: list[int] = []

    async def run() -> None:
        async with open_writer(path) as writer:
            with closing(sqlite3.connect(path)) as other:

                def check(number: int, _: asyncio.Future[None]) -> None:
                    order.append(number)
                    found = other.execute("SELECT count(*) FROM measurepoints WHERE time = ?", (number,)).fetchone()[0]
                    if found != 2:
                        missing.append(number)

                futures = []
                for number in range(1000):
                    future = commit(writer, record(point(number, time=number), point(0, name="b", time=number)))
                    future.add_done_callback(partial(check, number))
                    futures.append(future)
                    if number % 100 == 0:
                        await asyncio.sleep(0)
                await asyncio.gather(*futures)
                stats = writer.stats()
        assert stats.committed_records == 1000
        assert stats.committed_points == 2000
        assert stats.pending == 0
        assert 1 <= stats.commits < 1000
        assert 0 < stats.worst_commit_seconds <= stats.commit_seconds_total

    asyncio.run(run())
    assert order == list(range(1000))
    assert missing == []


def test_waiting_records_share_a_commit(tmp_path: Path) -> None:
    """What waits while a commit cannot happen is committed together, within the bounds of a group."""
    path = tmp_path / "x.db"

    async def run() -> None:
        async with open_writer(path) as writer:
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                futures = [commit(writer, record(point(number, time=number))) for number in range(MAX_RECORDS + 500)]
                assert writer.stats().pending == len(futures)
                await asyncio.sleep(0)
                other.execute("COMMIT")
            await asyncio.gather(*futures)
            # The thread may have taken a few before the rest was there.
            assert 2 <= writer.stats().commits <= 4

    asyncio.run(run())
    assert len(stored(path)) == MAX_RECORDS + 500


def test_a_record_bigger_than_a_group(tmp_path: Path) -> None:
    """One message may hold more points than a group takes, and is committed whole."""
    path = tmp_path / "x.db"
    store(path, record(*[point(time, time=time) for time in range(MAX_POINTS + 5)]), record(point(time=-1)))
    found = stored(path)
    assert [each.time for each in found] == list(range(-1, MAX_POINTS + 5))


def test_a_record_with_nothing_in_it(tmp_path: Path) -> None:
    """An empty record completes, after those before it."""
    path = tmp_path / "x.db"
    store(path, record(point()), record())
    assert stored(path) == [point()]


BAD = {
    "surrogate in a value": point("\ud800"),
    "surrogate deep in a value": point({"a": ["\ud800"]}),
    "surrogate in a name": point(name="\ud800"),
    "surrogate in a device key": Point(PRODUCT, "\ud800", "temp", 1, 1, None, "post"),
    "time beyond 63 bits": point(time=2**63),
    "time beyond 64 bits": point(time=2**64),
    "fractional time": point(time=1.5),  # type: ignore[arg-type]
    "time missing": point(time=None),  # type: ignore[arg-type]
    "quality beyond 64 bits": point(quality=2**63),
    "integer beyond 64 bits": point(2**64),
    "no JSON": point(object()),
    "unknown origin": point(origin="guess"),
    "nested too deep": point(orjson.loads("[" * 300 + "]" * 300)),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
@pytest.mark.parametrize("known", [False, True], ids=["new series", "known series"])
def test_a_bad_record_fails_alone(tmp_path: Path, bad: Point, known: bool) -> None:
    """A record that no database could hold gets an error, whole; its neighbours in the group are stored."""
    path = tmp_path / "x.db"

    async def run() -> None:
        async with open_writer(path) as writer:
            if known:
                await commit(writer, record(point(0, time=0), point(0, name="good", time=0)))
            messages = [record(point(1, time=1)), record(point(name="good"), bad), record(point(2, time=2))]
            first, second, third = await asyncio.gather(
                *[commit(writer, message) for message in messages], return_exceptions=True
            )
            assert first is None
            assert isinstance(second, StorageError)
            assert str(second).startswith("the record cannot be stored: ")
            assert third is None
            assert writer.stats().failure is None
            assert writer.stats().committed_records == 2 + known
            # The writer goes on, with the ids of series that it knows to be committed.
            await commit(writer, record(point(3, name="good", time=3), point(3, time=3)))

    asyncio.run(run())
    assert [each.value for each in stored(path) if each.time > 0] == [3, 1, 2, 3]


def test_activation_is_stored_once(tmp_path: Path) -> None:
    """The first login's time stays; a device that does not exist disturbs nothing."""
    path = tmp_path / "x.db"
    with open_registry(path) as registry:
        registry.apply(lambda _: Directory([Product(PRODUCT)], [Device(GATEWAY)]))
    store(path, Record([], activated=(GATEWAY,), time=5), Record([point()], activated=(GATEWAY,), time=6))
    store(path, Record([], activated=(DeviceId(PRODUCT, "nobody"),), time=7), Record([], activated=(GATEWAY,), time=8))
    with open_registry(path, read_only=True) as registry:
        assert registry.directory().devices == {GATEWAY: Device(GATEWAY, activated=5)}
    assert stored(path) == [point()]


def test_points_and_rejection_of_a_record_go_together(tmp_path: Path) -> None:
    """A record that fails leaves neither its points nor its rejection."""
    path = tmp_path / "x.db"

    async def run() -> None:
        async with open_writer(path) as writer:
            results = await asyncio.gather(
                commit(writer, Record([point(1)], rejection(1))),
                commit(writer, Record([point(2, time=2**63)], rejection(2))),
                return_exceptions=True,
            )
            assert results[0] is None
            assert isinstance(results[1], StorageError)
            assert writer.stats().quarantine_rows == 1

    asyncio.run(run())
    with SqliteReader(path) as reader:
        assert [entry.time for entry in reader.quarantine(limit=10)] == [1]


def test_a_record_that_fails_at_its_end_leaves_nothing(tmp_path: Path) -> None:
    """Points and rejection that were written already are taken back when the activation cannot be."""
    path = tmp_path / "x.db"

    async def run() -> None:
        async with open_writer(path) as writer:
            results = await asyncio.gather(
                commit(writer, Record([point(1)], rejection(1), (GATEWAY,), 2**63)),
                commit(writer, record(point(2, time=2))),
                return_exceptions=True,
            )
            assert isinstance(results[0], StorageError)
            assert results[1] is None
            assert writer.stats().quarantine_rows == 0

    asyncio.run(run())
    assert stored(path) == [point(2, time=2)]


def test_more_series_than_are_kept_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Series that were forgotten are looked up again, not made twice."""
    monkeypatch.setattr(database, "KNOWN_SERIES", 3)
    path = tmp_path / "x.db"

    async def run() -> None:
        async with open_writer(path) as writer:
            for time in range(3):
                for name in "abcdefg":
                    await commit(writer, record(point(time, name=name, time=time)))

    asyncio.run(run())
    assert stored(path) == [point(time, name=name, time=time) for name in "abcdefg" for time in range(3)]


def test_a_cancelled_caller_changes_nothing(tmp_path: Path) -> None:
    """What was handed in is stored, though nobody waits for it any more."""
    path = tmp_path / "x.db"

    async def run() -> None:
        async with open_writer(path) as writer:
            commit(writer, record(point(1, time=1))).cancel()
            await commit(writer, record(point(2, time=2)))
            assert writer.stats().committed_records == 2

    asyncio.run(run())
    assert [each.value for each in stored(path)] == [1, 2]


def test_close_commits_what_was_handed_in(tmp_path: Path) -> None:
    """Closing waits for everything that waits, folds the log into the file, and may be called again."""
    path = tmp_path / "x.db"

    async def run() -> None:
        async with open_writer(path) as writer:
            futures = [commit(writer, record(point(number, time=number))) for number in range(2500)]
            await asyncio.gather(writer.close(), writer.close())
            assert all(future.done() and future.exception() is None for future in futures)
            assert writer.stats().pending == 0
            with pytest.raises(StoreClosedError, match="the store is closed"):
                await commit(writer, record(point()))

    asyncio.run(run())
    assert not Path(f"{path}-wal").exists()
    assert not [thread for thread in threading.enumerate() if thread.name == "enos-ingest-writer"]
    assert len(stored(path)) == 2500


def test_a_loop_that_ends_without_close(tmp_path: Path) -> None:
    """Nobody is there to be told, the points are stored all the same and no thread dies aloud."""
    path = tmp_path / "x.db"
    threads: list[threading.Thread] = []

    async def run() -> None:
        writer = SqliteWriter(path)
        threads.extend(each for each in threading.enumerate() if each.name == "enos-ingest-writer")
        commit(writer, record(point()))
        closing_down = writer.close()
        closing_down.send(None)
        closing_down.close()

    asyncio.run(run())
    threads[0].join()
    assert stored(path) == [point()]


def test_negative_bounds_are_refused(tmp_path: Path) -> None:
    """A bound below zero is a mistake of the caller."""

    async def run() -> None:
        async with open_writer(tmp_path / "x.db", quarantine_rows=-1):
            pass

    with pytest.raises(ValueError, match="cannot be negative"):
        asyncio.run(run())


def test_people_can_read_it_in_a_shell(tmp_path: Path) -> None:
    """The view shows keys, a readable time, value, quality and origin."""
    path = tmp_path / "x.db"
    store(path, record(point([1, 2], time=1_700_000_000_123, quality=3, origin="resume")))
    with closing(sqlite3.connect(path)) as shell:
        assert shell.execute("SELECT * FROM measurepoints").fetchall() == [
            (PRODUCT, DEVICE, "temp", "2023-11-14 22:13:20.123", 1_700_000_000_123, "[1,2]", 3, "resume")
        ]
