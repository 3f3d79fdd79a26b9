"""Finished commands are deleted: by age, by number, by bytes, beside the writer."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from enos_ingest.commands.command import State
from enos_ingest.errors import StorageError
from enos_ingest.storage import commands as commands_module
from enos_ingest.storage.commands import SqliteCommands
from enos_ingest.storage.sqlite import connect_writer
from enos_ingest.storage.versions import VERSIONS
from tests.storage.commands_made import finished, save
from tests.storage.samples import (
    command,
    commit,
    open_writer,
    ordered,
)

ANY = 2**50
"""More bytes than any test stores."""


def numbers(path: Path) -> list[int]:
    """What is stored, by the number that `command` was given."""
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] - 10**17 for row in connection.execute("SELECT id FROM commands ORDER BY id")]


def test_old_commands_are_deleted_and_unfinished_ones_never(tmp_path: Path) -> None:
    """What ended before the time goes, what ended at it stays, and so does what has not ended, however old."""
    path = tmp_path / "x.db"
    save(
        path,
        [
            command(1),
            command(2, state=State.RELEASED, sent=1),
            finished(3, at=9),
            finished(4, at=10),
            finished(5, at=11, state=State.TIMED_OUT),
            finished(6, at=8, state=State.EXPIRED),
        ],
    )
    with SqliteCommands(path) as commands:
        assert commands.purge(before=10, keep=100, keep_bytes=ANY) == 2
        assert commands.purge(before=10, keep=100, keep_bytes=ANY) == 0
    assert numbers(path) == [1, 2, 4, 5]


def test_the_oldest_beyond_the_number_are_deleted(tmp_path: Path) -> None:
    """Those that ended first go, whatever their id; unfinished ones do not count."""
    path = tmp_path / "x.db"
    save(path, [command(1), *[finished(number, at=100 - number) for number in range(2, 8)]])
    with SqliteCommands(path) as commands:
        assert commands.purge(before=0, keep=6, keep_bytes=ANY) == 0
        assert commands.purge(before=0, keep=4, keep_bytes=ANY) == 2
        assert numbers(path) == [1, 2, 3, 4, 5]
        assert commands.purge(before=0, keep=0, keep_bytes=ANY) == 4
    assert numbers(path) == [1]


def test_the_oldest_beyond_the_bytes_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts and payload count as bytes, as they are when the command has ended; over several slices too."""
    monkeypatch.setattr(commands_module, "PURGE_ROWS", 2)
    path = tmp_path / "x.db"
    long: dict[str, Any] = {"input": "é" * 1000, "payload": bytes(3000), "output": "x" * 1000}
    save(
        path, [command(1, **long), *[finished(number, at=number, **long) for number in range(2, 9)], finished(9, at=9)]
    )
    with SqliteCommands(path) as commands:
        assert commands.purge(before=0, keep=100, keep_bytes=50_000) == 0
        assert commands.kept is not None
        assert commands.kept.commands == 8
        assert 7 * 6000 < commands.kept.size < 50_000
        # Each has 6000 bytes and some more, the last one only those.
        assert commands.purge(before=0, keep=100, keep_bytes=20_000) == 4
        assert numbers(path) == [1, 6, 7, 8, 9]
        assert commands.purge(before=0, keep=2, keep_bytes=20_000) == 2
        assert numbers(path) == [1, 8, 9]
        assert commands.purge(before=0, keep=100, keep_bytes=1) == 2
        assert commands.kept == (0, 0)
    assert numbers(path) == [1]


def test_what_counts_is_the_length_of_what_is_stored(tmp_path: Path) -> None:
    """As the sum of all columns that are texts or bytes; the later version of a command counts, not the first."""
    path = tmp_path / "x.db"
    save(path, [command(1, payload=bytes(1000)), finished(1, payload=b"123", input="é", name={"defaultValue": "ü"})])
    with closing(sqlite3.connect(path)) as connection:
        row = dict(zip(*_row(connection, "SELECT * FROM commands"), strict=True))
    held = row.pop("bytes")
    assert held == sum(len(each.encode() if isinstance(each, str) else each) for each in row.values() if _is_long(each))


def test_an_older_database_is_told_what_its_commands_count(tmp_path: Path) -> None:
    """By the step that adds the column, as the writer would have it."""
    path, new = tmp_path / "x.db", tmp_path / "new.db"
    made = finished(1, payload=bytes(range(256)), input="é", output={"a": 1}, name={"defaultValue": "ü"})
    save(new, [made, finished(2, at=2)])
    with closing(sqlite3.connect(new)) as connection:
        expected = connection.execute("SELECT * FROM commands ORDER BY id").fetchall()
    with closing(connect_writer(path, versions=VERSIONS[:4])) as connection:
        for row in expected:
            places = ", ".join("?" * (len(row) - 1))
            connection.execute(f"INSERT INTO commands VALUES ({places})", row[:-1])  # noqa: S608 - question marks
    with closing(connect_writer(path)) as connection:
        assert connection.execute("SELECT * FROM commands ORDER BY id").fetchall() == expected
    with SqliteCommands(path) as commands:
        assert commands.purge(before=0, keep=100, keep_bytes=expected[1][-1]) == 1
    assert numbers(path) == [2]


def _row(connection: sqlite3.Connection, query: str) -> tuple[list[str], list[Any]]:
    cursor = connection.execute(query)
    return [each[0] for each in cursor.description], list(cursor.fetchone())


def _is_long(value: object) -> bool:
    return isinstance(value, str | bytes)


def test_a_purge_goes_by_slices_between_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds the database for a slice at a time: commands are committed all along, and every old one goes."""
    monkeypatch.setattr(commands_module, "PURGE_ROWS", 10)
    path = tmp_path / "x.db"
    save(path, [finished(number, at=number) for number in range(1, 501)])

    async def run() -> None:
        async with open_writer(path) as writer:
            with SqliteCommands(path) as commands:
                purge = asyncio.create_task(asyncio.to_thread(commands.purge, 401, 50, ANY))
                between = 0
                while not purge.done():
                    await commit(writer, ordered(command(1000 + between)))
                    between += not purge.done()
                assert await purge == 450
                assert between > 5
                assert writer.stats().failed_commits == 0
                assert len(commands.unfinished()) >= between

    asyncio.run(run())
    assert [number for number in numbers(path) if number <= 500] == list(range(451, 501))


def test_a_purge_ends_in_time_and_goes_on_at_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When its time is over it leaves the rest: a service that stops does not wait for a million."""
    monkeypatch.setattr(commands_module, "PURGE_ROWS", 2)
    path = tmp_path / "x.db"
    save(path, [finished(number, at=number) for number in range(1, 11)])
    clock = iter(range(100))
    with SqliteCommands(path) as commands, monkeypatch.context() as patch:
        # Each look at the clock takes a second: four slices fit.
        patch.setattr(commands_module, "monotonic", lambda: next(clock))
        assert commands.purge(before=100, keep=0, keep_bytes=ANY) == 8
        assert numbers(path) == [9, 10]
        assert commands.purge(before=100, keep=0, keep_bytes=ANY) == 2
    save(path, [finished(number, at=number) for number in range(1, 11)])
    clock = iter(range(100))
    with SqliteCommands(path) as commands, monkeypatch.context() as patch:
        patch.setattr(commands_module, "monotonic", lambda: next(clock))
        assert commands.purge(before=0, keep=0, keep_bytes=ANY) == 6
        assert numbers(path) == [7, 8, 9, 10]


def test_a_purge_of_a_locked_database_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gives up after a while, and what it has not deleted is deleted another time."""
    path = tmp_path / "x.db"
    save(path, [finished(1)])
    monkeypatch.setattr("enos_ingest.storage.sqlite.OPEN_BUSY_MS", 1)
    with SqliteCommands(path) as commands, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="locked by another program"):
            commands.purge(before=10, keep=0, keep_bytes=ANY)
        other.execute("ROLLBACK")
        assert commands.purge(before=10, keep=0, keep_bytes=ANY) == 1
