"""The start of the engine's process: what keeps it from opening the database, and what it hears and says meanwhile."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from enos_ingest.errors import NewerDatabaseError, StorageError
from enos_ingest.storage import process
from tests.storage.process_site import open_process
from tests.storage.samples import (
    commit,
    folded,
    point,
    record,
    stored,
)


def test_a_database_that_cannot_be_opened(tmp_path: Path) -> None:
    """The sentence is that of the process, and of the same kind."""
    newer, text = tmp_path / "newer.db", tmp_path / "text.db"
    text.write_text("no database at all, however long one looks at it")

    async def run(path: Path) -> None:
        async with open_process(path):
            pass

    asyncio.run(run(newer))
    with closing(sqlite3.connect(newer, isolation_level=None)) as connection:
        connection.execute("PRAGMA user_version = 1000")
    with pytest.raises(NewerDatabaseError):
        asyncio.run(run(newer))
    with pytest.raises(StorageError, match=r"text\.db is not a SQLite database"):
        asyncio.run(run(text))


def test_a_damaged_inbox_is_not_opened(tmp_path: Path) -> None:
    """It holds what was acknowledged: nobody but a person can say what becomes of it."""
    path = tmp_path / "x.db"

    async def run() -> None:
        async with open_process(path):
            pass

    asyncio.run(run())
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("INSERT INTO inbox (points, size, rows) VALUES (1, 1, '[')")
    with pytest.raises(StorageError, match=r"row 1 of the inbox is damaged .*: restore the database from a backup"):
        asyncio.run(run())


def test_signals_during_its_start_do_not_end_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its first moment, before it has read a line of ours."""
    path = tmp_path / "x.db"
    numbers = [int(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    prelude = f"import os\nfor number in {numbers}: os.kill(os.getpid(), number)\n"
    monkeypatch.setattr(process, "PROGRAM", prelude + process.PROGRAM)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])

    async def run() -> None:
        async with open_process(path) as writer:
            await commit(writer, record(point(1)))

    asyncio.run(run())
    assert len(stored(path)) == 1
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


EAGER = """
import socket, sys
sys.path.insert(0, sys.argv[1])
from enos_ingest.storage.engine import Folded, Opened
from enos_ingest.storage.frames import to_frame
from enos_ingest.storage.quarantine import Usage
from enos_ingest.storage.store import FoldState
with socket.socket(fileno=int(sys.argv[2])) as stream:
    opened, folded = Opened(Usage(0, 0), FoldState(5, 0, 0.0, None)), Folded(FoldState(0, 1, 0.5, None))
    stream.sendall(to_frame(opened) + to_frame(folded))
    stream.recv(1000)
"""


def test_what_is_said_right_after_the_start_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an earlier run has left may be folded before the hub has read that the database is open."""
    monkeypatch.setattr(process, "PROGRAM", EAGER)

    async def run() -> None:
        async with open_process(tmp_path / "x.db") as writer:
            assert writer.stats().unfolded_points == 5
            await folded(writer)

    asyncio.run(run())


def test_a_process_that_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or not in time."""

    async def run() -> None:
        async with open_process(tmp_path / "x.db"):
            pass

    with monkeypatch.context() as patched:
        patched.setattr(process, "PROGRAM", "raise SystemExit(9)")
        with pytest.raises(StorageError, match="the store's process cannot start: exit code 9"):
            asyncio.run(run())
    with monkeypatch.context() as patched:
        patched.setattr(sys, "executable", str(tmp_path / "python"))
        with pytest.raises(StorageError, match=r"cannot start: .*/python: No such file or directory"):
            asyncio.run(run())
    monkeypatch.setattr(process, "PROGRAM", "import sys; sys.stdin = open(0); import signal; signal.pause()")
    monkeypatch.setattr(process, "_START_SECONDS", 0.05)
    with pytest.raises(StorageError, match=r"has not opened the database in 0\.05 s"):
        asyncio.run(run())
