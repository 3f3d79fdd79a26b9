"""Rejected messages: kept whole, bounded by rows and by bytes, the oldest go."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from enos_ingest.outcome import Record, Rejection
from enos_ingest.storage.reader import SqliteReader
from enos_ingest.storage.store import QuarantineEntry, WriterStats
from tests.storage.samples import commit, open_writer, rejection

TEXT = sum(len(text) for text in (rejection().topic, rejection().publisher, rejection().reason))
"""What an entry of the samples counts besides its payload."""


def reject(path: Path, *rejections: Rejection, rows: int = 1000, size: int = 2**20) -> WriterStats:
    """Store rejections, as one group or several; returns the stats at the end."""

    async def run() -> WriterStats:
        async with open_writer(path, quarantine_rows=rows, quarantine_bytes=size) as writer:
            await asyncio.gather(*[commit(writer, Record([], each)) for each in rejections])
            return writer.stats()

    return asyncio.run(run())


def kept(path: Path) -> list[int]:
    """The times of the entries that are left, oldest first."""
    with SqliteReader(path) as reader:
        return [entry.time for entry in reader.quarantine(limit=10**9)][::-1]


@pytest.mark.parametrize("payload", [b"", b"{", b"\xff\x00\xfe", bytes(range(256)) * 2000], ids=len)
def test_a_message_is_kept_whole(tmp_path: Path, payload: bytes) -> None:
    """Every field comes back, the payload byte for byte."""
    path = tmp_path / "x.db"
    sent = rejection(5, payload, "params[1].measurepoints.temp: expected a number, \U0001f600")
    reject(path, sent)
    with SqliteReader(path) as reader:
        (summary,) = reader.quarantine(limit=10)
        entry = reader.quarantine_entry(summary.id)
    assert entry == QuarantineEntry(
        summary.id, 5, sent.topic, sent.publisher, sent.code, sent.reason, payload, len(payload)
    )
    assert summary[1:] == (5, sent.topic, sent.publisher, sent.code, sent.reason, len(payload))


def test_newest_first_and_limited(tmp_path: Path) -> None:
    """The list starts with the newest and ends at the limit, also beyond a page of the reader."""
    path = tmp_path / "x.db"
    reject(path, *[rejection(number) for number in range(2300)], rows=10_000)
    with SqliteReader(path) as reader:
        for limit in (0, 1, 7, 1000, 2299, 5000):
            expected = list(range(2299, -1, -1))[:limit]
            assert [entry.time for entry in reader.quarantine(limit=limit)] == expected
        assert reader.quarantine_entry(10**6) is None
        assert reader.quarantine_entry(10**30) is None


def test_rows_are_bounded(tmp_path: Path) -> None:
    """Beyond so many rows the oldest go, within a group and over several."""
    path = tmp_path / "x.db"
    stats = reject(path, *[rejection(number) for number in range(130)], rows=10)
    assert kept(path) == list(range(120, 130))
    assert stats.quarantine_rows == 10
    reject(path, rejection(130), rejection(131), rows=10)
    assert kept(path) == list(range(122, 132))


def test_bytes_are_bounded(tmp_path: Path) -> None:
    """Payload, topic, publisher and reason count; the oldest go until the newest fits."""
    path = tmp_path / "x.db"
    size = 4 * (100 + TEXT)
    stats = reject(path, *[rejection(number, b"x" * 100) for number in range(10)], size=size)
    assert kept(path) == [6, 7, 8, 9]
    assert stats.quarantine_bytes == size
    stats = reject(path, rejection(10, b"x" * (200 + TEXT)), size=size)
    assert kept(path) == [8, 9, 10]
    assert stats.quarantine_bytes == size


def test_one_bigger_than_everything_is_cut(tmp_path: Path) -> None:
    """An entry beyond the bound is kept alone, cut to fit; its size still says how long the payload was."""
    path = tmp_path / "x.db"
    stats = reject(path, rejection(1), rejection(2, b"0123456789" * 10), size=TEXT + 42)
    with SqliteReader(path) as reader:
        (summary,) = reader.quarantine(limit=10)
        entry = reader.quarantine_entry(summary.id)
    assert entry is not None
    assert entry.payload == b"0123456789" * 4 + b"01"
    assert entry.size == summary.size == 100
    assert (stats.quarantine_rows, stats.quarantine_bytes) == (1, TEXT + 42)


def test_one_whose_text_does_not_fit_is_not_kept(tmp_path: Path) -> None:
    """An entry whose reason alone is beyond the bound does not push the others out."""
    path = tmp_path / "x.db"
    reject(path, rejection(1), rejection(2, reason="x" * 1000), size=500)
    assert kept(path) == [1]


@pytest.mark.parametrize("bounds", [(0, 2**20), (1000, 0)])
def test_nothing_is_kept_with_a_bound_of_zero(tmp_path: Path, bounds: tuple[int, int]) -> None:
    """Zero turns the quarantine off."""
    path = tmp_path / "x.db"
    reject(path, rejection(1), rows=bounds[0], size=bounds[1])
    assert kept(path) == []


def test_smaller_bounds_hold_from_the_start(tmp_path: Path) -> None:
    """Opening with smaller bounds drops the oldest at once."""
    path = tmp_path / "x.db"
    reject(path, *[rejection(number) for number in range(20)])
    stats = reject(path, rows=5)
    assert (stats.quarantine_rows, stats.quarantine_bytes) == (5, 5 * (TEXT + 1))
    assert kept(path) == [15, 16, 17, 18, 19]


def test_others_may_delete_entries(tmp_path: Path) -> None:
    """What another program deletes is no longer counted, and ids are never used twice."""
    path = tmp_path / "x.db"

    async def run() -> None:
        async with open_writer(path, quarantine_rows=3) as writer:
            await asyncio.gather(*[commit(writer, Record([], rejection(number))) for number in range(3)])
            with closing(sqlite3.connect(path)) as other, other:
                other.execute("DELETE FROM quarantine WHERE time != 0")
            await commit(writer, Record([], rejection(3)))
            assert writer.stats().quarantine_rows == 2

    asyncio.run(run())
    assert kept(path) == [0, 3]
    with SqliteReader(path) as reader:
        assert [entry.id for entry in reader.quarantine(limit=10)] == [4, 1]


def test_text_that_is_no_text_is_shown(tmp_path: Path) -> None:
    """A lone surrogate in a reason is kept as its escape: what was rejected may hold anything."""
    path = tmp_path / "x.db"
    reject(path, rejection(1, reason="params.\udc80: unknown"))
    with SqliteReader(path) as reader:
        assert [entry.reason for entry in reader.quarantine(limit=1)] == ["params.\\udc80: unknown"]
