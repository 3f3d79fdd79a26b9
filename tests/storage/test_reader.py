"""The reader: order, bounds, latest values by a seek, beside a writer that works."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import pytest

from enos_ingest.errors import StorageError
from enos_ingest.outcome import Point, Record
from enos_ingest.storage import reader as reader_module
from enos_ingest.storage.reader import SqliteReader
from tests.storage.samples import DEVICE, PRODUCT, commit, open_writer, point, record, stored

TIMES = [-5, 0, 1, 2, 3, 10**12, 2**63 - 1]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with two measurement points of the device, and one of another."""
    database = tmp_path / "x.db"

    async def run() -> None:
        async with open_writer(database) as writer:
            for time in reversed(TIMES):
                await commit(writer, record(point(time, name="b", time=time), point(-time, name="a", time=time)))
            await commit(writer, Record([Point(PRODUCT, "gw-2", "a", 99, 99, None, "post")]))

    asyncio.run(run())
    return database


@pytest.fixture
def reader(path: Path) -> Iterator[SqliteReader]:
    """A reader of that database."""
    with SqliteReader(path) as opened:
        yield opened


def test_points_by_name_then_time(reader: SqliteReader) -> None:
    """All points of a device, by measurement point, then time, whatever order they came in."""
    found = [(each.measurepoint, each.time) for each in reader.points(PRODUCT, DEVICE)]
    assert found == [("a", time) for time in TIMES] + [("b", time) for time in TIMES]


@pytest.mark.parametrize("start", [None, -(10**30), -5, 1, 4, 2**63 - 1, 10**30])
@pytest.mark.parametrize("end", [None, -(10**30), 0, 3, 4, 2**63 - 1, 10**30])
def test_bounds_are_inclusive(reader: SqliteReader, start: int | None, end: int | None) -> None:
    """`start` and `end` belong to the range; beyond all times they mean no bound, or nothing."""
    found = [each.time for each in reader.points(PRODUCT, DEVICE, measurepoint="b", start=start, end=end)]
    assert found == [time for time in TIMES if (start is None or time >= start) and (end is None or time <= end)]


def test_latest_is_the_greatest_time(reader: SqliteReader) -> None:
    """The latest point has the greatest time, though it came first; one for each measurement point."""
    newest = 2**63 - 1
    assert list(reader.latest(PRODUCT, DEVICE)) == [
        point(-newest, name="a", time=newest), point(newest, name="b", time=newest)
    ]  # fmt: skip
    assert list(reader.latest(PRODUCT, DEVICE, measurepoint="b")) == [point(newest, name="b", time=newest)]


def test_what_is_not_there(reader: SqliteReader) -> None:
    """Unknown devices and points have no points; so has a name that is no Unicode."""
    for product_key, device_key, name in [
        ("x", DEVICE, None), (PRODUCT, "x", None), (PRODUCT, DEVICE, "A"), (PRODUCT, DEVICE, ""),
        (PRODUCT, "\udcff", None),
    ]:  # fmt: skip
        assert list(reader.points(product_key, device_key, measurepoint=name)) == []
        assert list(reader.latest(product_key, device_key, measurepoint=name)) == []


@pytest.mark.parametrize("query", [reader_module.SERIES, reader_module.POINTS, reader_module.LATEST])
def test_no_query_scans(path: Path, query: str) -> None:
    """Every query seeks in an index and sorts nothing."""
    names = ("product_key", "device_key", "series", "start", "end", "page")
    with closing(sqlite3.connect(path)) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {query}", dict.fromkeys(names, 1)).fetchall()
    steps = [step[3] for step in plan]
    assert len(steps) == 1
    assert steps[0].startswith("SEARCH ")
    assert "series=?" in steps[0] or "product_key=? AND device_key=?" in steps[0]


def test_more_than_a_page(path: Path) -> None:
    """A range that takes several reads has each point once."""
    times = list(range(100, 3600))

    async def run() -> None:
        async with open_writer(path) as writer:
            await commit(writer, record(*[point(time, name="many", time=time) for time in times]))

    asyncio.run(run())
    with SqliteReader(path) as opened:
        assert [each.value for each in opened.points(PRODUCT, DEVICE, measurepoint="many")] == times
        # Ends that fall on the border of a page.
        found = opened.points(PRODUCT, DEVICE, measurepoint="many", start=100, end=1099)
        assert [each.value for each in found] == times[:1000]


def test_a_paused_reader_holds_nobody_up(tmp_path: Path) -> None:
    """While an iterator is paused the writer goes on, and the log can be emptied; then it reads to the end."""
    path = tmp_path / "x.db"

    async def run() -> None:
        async with open_writer(path) as writer:
            await commit(writer, record(*[point(time, time=time) for time in range(5000)]))
            with SqliteReader(path) as opened:
                found = opened.points(PRODUCT, DEVICE)
                first = list(islice(found, 1500))
                await commit(writer, record(point("new", time=5000)))
                with closing(sqlite3.connect(path)) as other:
                    assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
                assert [each.time for each in [*first, *found]][:5000] == list(range(5000))

    asyncio.run(run())


def test_reading_beside_a_writer(tmp_path: Path) -> None:
    """A reader sees each record whole or not at all, and never fewer points than before."""
    path = tmp_path / "x.db"

    async def run() -> None:
        counts: list[int] = []
        async with open_writer(path) as writer:
            await commit(writer, record(point(time=0), point(name="b", time=0)))
            with SqliteReader(path) as opened:
                futures = []
                for time in range(1, 500):
                    futures.append(commit(writer, record(point(time=time), point(name="b", time=time))))
                    await asyncio.sleep(0)
                    latest = {each.measurepoint: each.time for each in opened.latest(PRODUCT, DEVICE)}
                    # Two reads: between them a commit may have moved "b" on, never back.
                    assert latest["temp"] >= latest["b"]
                    counts.append(latest["b"])
                await asyncio.gather(*futures)
                assert [each.time for each in opened.latest(PRODUCT, DEVICE)] == [499, 499]
        assert counts == sorted(counts)

    asyncio.run(run())


def test_reading_while_no_service_runs(path: Path) -> None:
    """A database at rest is read without being changed."""
    before = path.read_bytes()
    assert len(stored(path)) == 2 * len(TIMES)
    assert path.read_bytes() == before


def test_a_damaged_page_is_said(path: Path) -> None:
    """Damage found while reading ends with a sentence."""
    with closing(sqlite3.connect(path)) as connection:
        page = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'points'").fetchone()[0]
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray(path.read_bytes())
    data[(page - 1) * 4096 : page * 4096] = b"\xff" * 4096
    path.write_bytes(data)
    with SqliteReader(path) as opened, pytest.raises(StorageError, match="is damaged"):
        list(opened.points(PRODUCT, DEVICE))
