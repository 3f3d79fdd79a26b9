"""Commands on disk: stored as they are, replaced by id, found again."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from enos_ingest.commands.command import Kind, State
from enos_ingest.errors import StorageError
from enos_ingest.outcome import Record
from enos_ingest.storage import commands as commands_module
from enos_ingest.storage.commands import SqliteCommands
from enos_ingest.storage.group import MAX_BYTES, Group
from enos_ingest.storage.sqlite import connect_writer
from tests.storage.commands_made import finished, save
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
