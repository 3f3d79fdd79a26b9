"""Commands on disk: stored as they are, replaced by id, found again, deleted when they are old."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from enos_ingest.commands.command import Command, Kind, State
from enos_ingest.errors import StorageError
from enos_ingest.outcome import Record
from enos_ingest.storage import commands as commands_module
from enos_ingest.storage.commands import SqliteCommands
from enos_ingest.storage.group import MAX_BYTES, Group
from enos_ingest.storage.sqlite import connect_writer
from enos_ingest.storage.versions import VERSIONS
from tests.storage.samples import (
    PATIENCE,
    command,
    commit,
    open_writer,
    ordered,
    point,
    rejection,
    stored,
)

ANY = 2**50
"""More bytes than any test stores."""


def save(path: Path, commands: Iterable[Command]) -> None:
    """Hand commands to a writer, one after the other without waiting, and wait for all."""

    async def run() -> None:
        async with open_writer(path) as writer:
            await asyncio.gather(*[commit(writer, ordered(each)) for each in commands])

    asyncio.run(run())


def finished(number: int, *, at: int = 1, state: State = State.SUCCESS, **changes: Any) -> Command:
    """A command that has come to its end."""
    return command(number, state=state, sent=at, finished=at, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"kind": Kind.INVOKE_SERVICE, "identifier": "limitPower", "input": {"limit": 50.0}, "output": {"applied": 1}},
        {"input": None},
        {"input": [1, 2.0, "3", True, None, {"a": "\0"}]},
        {"input": 2**64 - 1},
        {"input": "x" * 100_000, "payload": bytes(range(256))},
        {"state": State.RELEASED, "sent": 5},
        {"state": State.SUCCESS, "sent": 5, "finished": 6},
        {"state": State.FAILED, "sent": 5, "finished": 6, "device_code": -(2**63), "device_message": "no\0 'way'"},
        {"state": State.CANCELED, "finished": 6},
        {"pending_ttl": 0, "application": "söze"},
        {"name": {"defaultValue": "Temperature", "i18nValue": {"zh_CN": "温度"}}},
    ],
)
def test_a_command_comes_back_as_it_was(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Every member is stored and read without loss."""
    path = tmp_path / "x.db"
    kept = command(**changes)
    save(path, [kept])
    with SqliteCommands(path) as commands:
        found = commands.get(kept.id)
    assert found == kept
    assert repr(found) == repr(kept)


def test_a_later_state_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    """A command is stored under its id: the last one handed in stays, in one commit or in many."""
    path = tmp_path / "x.db"
    steps = [
        command(),
        command(state=State.RELEASED, sent=2),
        command(state=State.SUCCESS, sent=2, finished=3, output={"a": 1}),
    ]
    save(path, steps[:2])
    with SqliteCommands(path) as commands:
        assert commands.get(command().id) == steps[1]
        assert commands.unfinished() == [steps[1]]
        save(path, steps[2:])
        assert commands.get(command().id) == steps[2]
        assert commands.unfinished() == []
        assert commands.last_id() == int(command().id)


def test_many_commands_of_one_commit_are_all_stored(tmp_path: Path) -> None:
    """More than go into one statement, some of them twice."""
    path = tmp_path / "x.db"
    many = [command(number) for number in range(1, 181)]
    save(path, [*many, *[replace(each, state=State.RELEASED, sent=9) for each in many[::2]]])
    with SqliteCommands(path) as commands:
        found = commands.unfinished()
    assert [each.id for each in found] == [each.id for each in many]
    assert [each.state for each in found] == [State.RELEASED, State.CREATED] * 90


def test_a_record_holds_a_command_beside_the_rest(tmp_path: Path) -> None:
    """Points, a rejection and a command of one record are committed together."""
    path = tmp_path / "x.db"

    async def run() -> None:
        async with open_writer(path) as writer:
            await commit(writer, Record([point(1)], rejection(), command=command()))
            # Its series is known now: what is special about it is the command alone.
            await commit(writer, Record([point(2, time=2)], command=command(2)))
            assert writer.stats().quarantine_rows == 1
            assert writer.stats().committed_points == 2

    asyncio.run(run())
    assert stored(path) == [point(1), point(2, time=2)]
    with SqliteCommands(path) as commands:
        assert commands.unfinished() == [command(), command(2)]


def test_what_waits_is_told_after_the_commit_and_in_order(tmp_path: Path) -> None:
    """When `done` is called for a command it is on disk, and so is every one before it."""
    path = tmp_path / "x.db"

    async def run() -> None:
        async with open_writer(path) as writer:
            told: list[int] = []
            with SqliteCommands(path) as commands:

                def told_of(number: int, error: StorageError | None) -> None:
                    assert error is None
                    assert commands.get(command(number).id) is not None
                    told.append(number)

                for number in range(1, 100):
                    writer.commit(ordered(command(number)), partial(told_of, number))
                await commit(writer, ordered(command(100)))
            assert told == list(range(1, 100))

    asyncio.run(run())


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"id": "1"}, "command id '1': expected 18 digits"),
        ({"id": "0" * 18}, "expected 18 digits"),
        ({"id": "١" * 18}, "expected 18 digits"),
        ({"input": object()}, "not JSON serializable"),
        ({"input": "\ud800"}, "surrogates"),
        ({"output": 2**64}, "64-bit"),
        ({"identifier": "\ud800"}, "surrogates"),
        ({"device_code": 2**63}, "device code 9223372036854775808 is no integer of 64 bits"),
        ({"created": 2**63}, "too large"),
        ({"state": State.SUCCESS}, "is SUCCESS and finished at None"),
        ({"finished": 5}, "is CREATED and finished at 5"),
    ],
)
def test_a_command_that_no_database_holds_fails_alone(tmp_path: Path, changes: dict[str, Any], what: str) -> None:
    """Who waits for it is told why; its neighbours in the commit are stored."""
    path = tmp_path / "x.db"

    async def run() -> None:
        async with open_writer(path) as writer:
            before, bad, after = (
                commit(writer, ordered(each)) for each in (command(2), command(3, **changes), command(4))
            )
            with pytest.raises(StorageError, match=what):
                await bad
            await before
            await after
            assert writer.stats().failure is None

    asyncio.run(run())
    with SqliteCommands(path) as commands:
        assert commands.unfinished() == [command(2), command(4)]


def test_the_bytes_of_commands_fill_a_group() -> None:
    """Long payloads count: a transaction that holds enough of them takes no more."""
    group = Group()
    long = ordered(command(payload=bytes(MAX_BYTES // 2)))
    group.add(long)
    assert not group.is_full
    group.add(long)
    assert group.is_full


def test_half_a_surrogate_pair_of_a_device_is_shown(tmp_path: Path) -> None:
    """A device's words are kept whatever they hold: an answer must not stay unstored for them."""
    path = tmp_path / "x.db"
    save(path, [finished(1, state=State.FAILED, device_message="a\ud800b")])
    with SqliteCommands(path) as commands:
        found = commands.get(command().id)
    assert found is not None
    assert found.device_message == "a\\ud800b"


@pytest.mark.parametrize("text", ["", "1", "x" * 18, "٣" * 18, "1" * 19, "9" * 18, "-" + "1" * 17, "\ud800"])
def test_an_id_that_names_nothing_finds_nothing(tmp_path: Path, text: str) -> None:
    """Any text may be asked for."""
    path = tmp_path / "x.db"
    save(path, [command()])
    with SqliteCommands(path) as commands:
        assert commands.get(text) is None


def test_an_empty_database_has_no_commands(tmp_path: Path) -> None:
    """Nothing unfinished, nothing last."""
    path = tmp_path / "x.db"
    connect_writer(path).close()
    with SqliteCommands(path) as commands:
        assert commands.unfinished() == []
        assert commands.last_id() == 0


def test_the_last_id_is_that_of_finished_ones_too(tmp_path: Path) -> None:
    """A new command must come after every one there ever was, not only after those under way."""
    path = tmp_path / "x.db"
    save(path, [command(1), finished(2)])
    with SqliteCommands(path) as commands:
        assert commands.last_id() == int(command(2).id)


def test_threads_may_ask_at_the_same_time(tmp_path: Path) -> None:
    """One connection serves them, one after the other."""
    path = tmp_path / "x.db"
    save(path, [command(number) for number in range(1, 51)])
    faults: list[BaseException] = []
    with SqliteCommands(path) as commands:

        def ask() -> None:
            try:
                for number in range(1, 51):
                    assert commands.get(command(number).id) == command(number)
                    assert len(commands.unfinished()) == 50
            except BaseException as fault:  # noqa: BLE001 - looked at below
                faults.append(fault)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    assert faults == []


def test_no_database_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no database at"):
        SqliteCommands(tmp_path / "x.db")


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


def test_what_is_unfinished_is_found_without_a_scan(tmp_path: Path) -> None:
    """A start reads the few that are under way, not the million that are not."""
    path = tmp_path / "x.db"
    connect_writer(path).close()
    with closing(sqlite3.connect(path)) as connection:
        names = ("_UNFINISHED", "_ONE", "_OLD", "_OLDEST", "_UP_TO", "_FINISHED")  # the statements as they are run
        for query in (getattr(commands_module, name) for name in names):
            parameters = (1,) * query.count("?")
            steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", parameters)]
            assert not any("SCAN commands" in step and "INDEX" not in step for step in steps), steps
