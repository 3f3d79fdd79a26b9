"""Schema versions: forward step by step, never back, never somebody else's file."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from enos_ingest.devices.directory import Device
from enos_ingest.errors import NewerDatabaseError, StorageError
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.storage.commands import SqliteCommands
from enos_ingest.storage.migrations import APPLICATION_ID
from enos_ingest.storage.registry import open_registry
from enos_ingest.storage.sqlite import connect_reader, connect_writer
from enos_ingest.storage.transactions import transaction
from enos_ingest.storage.versions import VERSIONS, Version
from tests.storage.samples import (
    DEVICE,
    PRODUCT,
    command,
    commit,
    folded,
    open_writer,
    ordered,
    point,
    record,
    stored,
)

SECOND: Version = ("ALTER TABLE products ADD COLUMN colour TEXT NOT NULL DEFAULT 'grey'",)
BROKEN: Version = ("CREATE TABLE half (x)", "INSERT INTO nowhere VALUES (1)")
TWO = (VERSIONS[0], SECOND)


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def test_new_database_has_the_newest_version(tmp_path: Path) -> None:
    """A new database carries our application id and the number of migrations."""
    connection = connect_writer(tmp_path / "x.db")
    assert connection.execute("PRAGMA user_version").fetchone()[0] == len(VERSIONS)
    assert connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
    connection.close()


def test_version_one_is_brought_forward_with_its_rows(tmp_path: Path) -> None:
    """An older database gets the missing steps, and keeps what it holds."""
    path = tmp_path / "x.db"
    with closing(connect_writer(path, versions=VERSIONS[:1])) as connection:
        connection.execute("INSERT INTO products VALUES ('EbxGvUrE', 's', '', 0, 0, 0, 0, '')")
    with closing(connect_writer(path, versions=TWO)) as connection:
        assert connection.execute("SELECT key, secret, colour FROM products").fetchall() == [("EbxGvUrE", "s", "grey")]
    assert version(path) == 2


def test_failed_step_leaves_the_version_before_it(tmp_path: Path) -> None:
    """A step is a transaction: when it fails nothing of it stays, and what went before does."""
    path = tmp_path / "x.db"
    with pytest.raises(StorageError, match="nowhere"):
        connect_writer(path, versions=(*TWO, BROKEN))
    assert version(path) == 2
    with closing(connect_reader(path, versions=TWO)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    assert "half" not in tables
    assert "products" in tables


def test_two_programs_may_open_at_the_same_time(tmp_path: Path) -> None:
    """Whoever comes second finds the version that the first has made."""
    path = tmp_path / "x.db"
    connect_writer(path, versions=VERSIONS[:1]).close()
    first, second = connect_writer(path, versions=TWO), connect_writer(path, versions=TWO)
    first.close()
    second.close()
    assert version(path) == 2


def test_newer_database_is_refused_and_untouched(tmp_path: Path) -> None:
    """A database of a newer version is not changed by a byte, even one that needs recovery."""
    path = tmp_path / "x.db"
    newer = connect_writer(path, versions=TWO)
    reader = connect_reader(path, versions=TWO)
    newer.execute("INSERT INTO meta VALUES ('x', 1)")
    newer.close()
    # The reader keeps the log from being folded in: like after a crash, the file alone is not all.
    before, log = path.read_bytes(), Path(f"{path}-wal").read_bytes()
    for connect in (connect_writer, connect_reader):
        with pytest.raises(NewerDatabaseError, match="schema version 2, this program knows up to 1"):
            connect(path, versions=VERSIONS[:1])
    assert (path.read_bytes(), Path(f"{path}-wal").read_bytes()) == (before, log)
    assert log
    reader.close()


def test_reader_does_not_migrate(tmp_path: Path) -> None:
    """A reader of an older database says that the service must be started once."""
    path = tmp_path / "x.db"
    connect_writer(path, versions=VERSIONS[:1]).close()
    with pytest.raises(StorageError, match="schema version 1, this program needs 2: start the service once"):
        connect_reader(path, versions=TWO)


@pytest.mark.parametrize(
    "script",
    ["CREATE TABLE recipes (name)", "PRAGMA application_id = 42; CREATE TABLE t (x)", "PRAGMA user_version = 3"],
)
def test_foreign_database_is_refused_and_untouched(tmp_path: Path, script: str) -> None:
    """Another program's SQLite file is not turned into ours."""
    path = tmp_path / "x.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    before = path.read_bytes()
    for connect in (connect_writer, connect_reader):
        with pytest.raises(StorageError, match="belongs to another program"):
            connect(path)
    assert path.read_bytes() == before


def test_points_of_version_one_are_kept_and_overwritten(tmp_path: Path) -> None:
    """Points that version 1 has stored are read as before; a newer one of the same time takes their place."""
    path = tmp_path / "x.db"
    with closing(connect_writer(path, versions=VERSIONS[:1])) as connection:
        connection.execute("INSERT INTO series VALUES (7, ?, ?, 'temp')", (PRODUCT, DEVICE))
        connection.execute("INSERT INTO points VALUES (7, 1, '1.0', 3, 1), (7, 2, '\"two\"', NULL, 0)")
        before = connection.execute("SELECT * FROM measurepoints ORDER BY time").fetchall()
    connect_writer(path).close()
    assert version(path) == len(VERSIONS)
    with closing(connect_reader(path)) as connection:
        assert connection.execute("SELECT * FROM measurepoints ORDER BY time").fetchall() == before
    old = [point(1.0, time=1, quality=3, origin="resume"), point("two", time=2)]
    assert stored(path) == old

    async def run() -> None:
        async with open_writer(path) as writer:
            await commit(writer, record(point("new", time=2), point(3, time=3)))
            assert stored(path) == [old[0], point("new", time=2), point(3, time=3)]
            await folded(writer)

    asyncio.run(run())
    assert stored(path) == [old[0], point("new", time=2), point(3, time=3)]


def test_version_two_gets_commands_and_keeps_what_waits(tmp_path: Path) -> None:
    """Points that version 2 has not folded yet are kept, and its database takes commands."""
    path = tmp_path / "x.db"
    with closing(connect_writer(path, versions=VERSIONS[:2])) as connection:
        connection.execute("INSERT INTO series VALUES (7, ?, ?, 'temp')", (PRODUCT, DEVICE))
        rows = '[[7, 1, "1.0", 3, 1]]'
        connection.execute("INSERT INTO inbox (points, size, rows) VALUES (1, ?, ?)", (len(rows), rows))
    with pytest.raises(
        StorageError, match=f"schema version 2, this program needs {len(VERSIONS)}: start the service once"
    ):
        SqliteCommands(path)

    async def run() -> None:
        async with open_writer(path) as writer:
            await commit(writer, ordered(command()))

    asyncio.run(run())
    assert version(path) == len(VERSIONS)
    assert stored(path) == [point(1.0, time=1, quality=3, origin="resume")]
    with SqliteCommands(path) as commands:
        assert commands.unfinished() == [command()]


def test_the_program_of_version_one_leaves_version_two_alone(tmp_path: Path) -> None:
    """It knows nothing of the inbox, so it must not read the points either."""
    path = tmp_path / "x.db"
    connect_writer(path, versions=VERSIONS[:2]).close()
    before = path.read_bytes()
    for connect in (connect_writer, connect_reader):
        with pytest.raises(NewerDatabaseError, match="schema version 2, this program knows up to 1: use the newer"):
            connect(path, versions=VERSIONS[:1])
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "condition", ["product_key = ? AND device_key = ?", "product_key = ? AND device_key = ? AND measurepoint = 'temp'"]
)
def test_the_view_seeks(tmp_path: Path, condition: str) -> None:
    """Who asks the view for a device gets it without a scan of all points."""
    path = tmp_path / "x.db"
    with closing(connect_writer(path)) as connection:
        query = f"EXPLAIN QUERY PLAN SELECT * FROM measurepoints WHERE {condition}"  # noqa: S608 - as given above
        steps = [step[3] for step in connection.execute(query, (PRODUCT, DEVICE))]
    assert any(step.startswith("SEARCH points USING PRIMARY KEY (series=?") for step in steps), steps
    assert any(step.startswith("SEARCH series USING COVERING INDEX") for step in steps), steps


def test_version_three_keeps_its_registry_as_the_files(tmp_path: Path) -> None:
    """Whatever stood in it came from a registry file; nothing has been let go, and no change came over the wire."""
    path = tmp_path / "x.db"
    with closing(connect_writer(path, versions=VERSIONS[:3])) as connection, transaction(connection):
        connection.execute("INSERT INTO products VALUES ('P', '', '', 0, 0, 0, 0, '')")
        connection.execute("INSERT INTO devices VALUES ('P', 'gw', 's', 'a', 1, 7), ('P', 'sub', 's', 'b', 1, NULL)")
        connection.execute("INSERT INTO topology VALUES ('P', 'gw', 'P', 'sub')")
    connect_writer(path).close()
    gateway, sub_device = DeviceId("P", "gw"), DeviceId("P", "sub")
    with open_registry(path, read_only=True) as registry:
        found = registry.stored()
    assert found.directory.devices[gateway] == Device(gateway, "s", "a", True, 7, "file", "", "")
    assert found.directory.topology == {gateway: {sub_device}}
    assert (found.directory.wired, dict(found.directory.released), found.serial) == (frozenset(), {}, 0)
