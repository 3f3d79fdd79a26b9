"""The database fails and comes back: nothing is acknowledged meanwhile, nothing is lost, the cause is said."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from io import FileIO
from pathlib import Path

import pytest

from enos_ingest.errors import StorageError, StoreClosedError
from enos_ingest.storage import database, engine, sqlite
from enos_ingest.storage.link import ThreadLink
from enos_ingest.storage.sqlite import connect_writer
from enos_ingest.storage.writer import SqliteWriter
from tests.storage.samples import commit, open_writer, point, record, stored

ROOT = Path(__file__).parents[2]
NOBODY = 65534
PATIENCE = 60
"""Seconds after which a test that waits for an event is given up."""


class States:
    """What a writer said about itself, and a way to wait for the next."""

    def __init__(self) -> None:
        self.seen: list[str | None] = []
        self._changed = asyncio.Event()

    def __call__(self, failure: str | None) -> None:
        self.seen.append(failure)
        self._changed.set()

    async def next(self) -> str | None:
        """The newest state, after a change that no call has reported yet."""
        async with asyncio.timeout(PATIENCE):
            await self._changed.wait()
        self._changed.clear()
        return self.seen[-1]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database that holds one point."""
    database_path = tmp_path / "x.db"

    async def run() -> None:
        async with open_writer(database_path) as opened:
            await commit(opened, record(point(0, time=0)))

    asyncio.run(run())
    return database_path


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program holds the database in a transaction of its own."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


def test_a_lock_is_said_and_waited_for(path: Path) -> None:
    """While another program holds a lock nothing completes; afterwards everything does, in order."""
    order: list[int] = []

    def note(number: int, _: asyncio.Future[None]) -> None:
        order.append(number)

    async def run() -> None:
        states = States()
        async with open_writer(path, on_state=states) as opened:
            with locked(path):
                futures = [commit(opened, record(point(number, time=number))) for number in range(1, 50)]
                for number, future in enumerate(futures):
                    future.add_done_callback(partial(note, number))
                failure = await states.next()
                assert (
                    failure
                    == f"database {path} is locked by another program: end that program, or wait until it is done"
                )
                assert not any(future.done() for future in futures)
                stats = opened.stats()
                assert (stats.failure, stats.pending, stats.committed_records) == (failure, 49, 0)
                assert stats.failed_commits >= 1
            assert await states.next() is None
            await asyncio.gather(*futures)
            assert opened.stats().failure is None
            assert states.seen == [failure, None]

    asyncio.run(run())
    assert order == list(range(49))
    assert len(stored(path)) == 50


def test_close_gives_up_after_a_last_try(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing a store that cannot commit ends its pause, tries once more, and fails what is left."""
    monkeypatch.setattr(engine, "FIRST_PAUSE", 3600)

    async def run() -> None:
        states = States()
        opened = SqliteWriter(path, on_state=states)
        with locked(path):
            first = commit(opened, record(point(1, time=1)))
            await states.next()
            tries = opened.stats().failed_commits
            rest = [commit(opened, record(point(number, time=number))) for number in range(2, 3000)]
            async with asyncio.timeout(PATIENCE):
                await opened.close()
            assert opened.stats().failed_commits == tries + 1
            assert opened.stats().pending == 0
        for future in (first, *rest):
            error = future.exception()
            assert isinstance(error, StoreClosedError)
            assert "before this record could be committed: database" in str(error)

    asyncio.run(run())
    assert [each.time for each in stored(path)] == [0]


def test_close_commits_when_the_last_try_succeeds(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that is gone when the store closes costs nothing."""
    monkeypatch.setattr(engine, "FIRST_PAUSE", 3600)

    async def run() -> None:
        states = States()
        opened = SqliteWriter(path, on_state=states)
        with locked(path):
            futures = [commit(opened, record(point(number, time=number))) for number in range(1, 10)]
            await states.next()
        async with asyncio.timeout(PATIENCE):
            await opened.close()
        assert all(future.exception() is None for future in futures)
        assert opened.stats().failure is None

    asyncio.run(run())
    assert len(stored(path)) == 10


def test_a_locked_database_is_not_opened(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start a lock that stays ends with a sentence."""
    monkeypatch.setattr(sqlite, "OPEN_BUSY_MS", 50)
    with locked(path), pytest.raises(StorageError, match="is locked by another program"):
        connect_writer(path)


def page_limit(opened: SqliteWriter, folder: Path) -> Callable[[], object]:
    """Let SQLite find the disk full: the file may not grow by a page; returns what ends it."""
    assert folder
    assert isinstance(opened.link, ThreadLink)
    connection = opened.link.engine.database.connection  # the limit holds for one connection only
    connection.execute("PRAGMA max_page_count = 1")
    return lambda: connection.execute("PRAGMA max_page_count = 1000000")


def filled_disk(opened: SqliteWriter, folder: Path) -> Callable[[], object]:
    """Fill the disk that the database is on; returns what frees it."""
    assert opened
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        fill(file)
    return filler.unlink


def fill(file: FileIO) -> None:
    """Write until there is no space."""
    while True:
        file.write(bytes(4096))


@contextmanager
def small_disk() -> Iterator[Path | None]:
    """A file system of 4 MiB, None where this user may not mount one."""
    with tempfile.TemporaryDirectory() as folder:
        mount = shutil.which("mount")
        command = [mount or "mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder]
        # The commands are the test's own.
        if mount is None or subprocess.run(command, check=False, capture_output=True).returncode != 0:
            yield None
            return
        try:
            yield Path(folder).resolve()
        finally:
            subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_said_and_waited_for(tmp_path: Path) -> None:
    """While there is no space nothing completes; when there is, everything does."""
    with small_disk() as mounted:
        # Without the right to mount, SQLite's own limit makes the same error.
        folder, shorten = (tmp_path, page_limit) if mounted is None else (mounted, filled_disk)
        path = folder / "x.db"
        asyncio.run(fill_and_free(path, shorten))
        assert [each.time for each in stored(path)] == [0, *range(1, 20)]


def test_a_database_that_may_not_grow(tmp_path: Path) -> None:
    """The same with SQLite's own limit on its pages."""
    path = tmp_path / "x.db"
    asyncio.run(fill_and_free(path, page_limit))
    assert [each.time for each in stored(path)] == [0, *range(1, 20)]


async def fill_and_free(path: Path, shorten: Callable[[SqliteWriter, Path], Callable[[], object]]) -> None:
    states = States()
    async with open_writer(path, on_state=states) as opened:
        await commit(opened, record(point(0, time=0)))
        free = shorten(opened, path.parent)
        # One that can never be stored is found out among others only while the disk takes the others.
        bad = commit(opened, record(point(time=2**63)))
        futures = [commit(opened, record(point("x" * 10_000, time=number))) for number in range(1, 20)]
        failure = await states.next()
        assert failure == f"database or disk is full: free space on the disk that holds {path}"
        assert not any(future.done() for future in futures)
        assert [each.time for each in stored(path)] == [0]
        free()
        assert await states.next() is None
        await asyncio.gather(*futures)
        assert isinstance(bad.exception(), StorageError)
        assert opened.stats().failure is None


def run_child(script: str, *arguments: Path | str) -> str:
    """Run a script in a process of its own, from the folder of the project; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


IO_ERROR = """
import asyncio, resource, sys
from pathlib import Path
from tests.faults.test_storage_faults import States
from tests.storage.samples import commit, open_writer, point, record

async def main():
    path, states = Path(sys.argv[1]), States()
    async with open_writer(path, on_state=states) as opened:
        await commit(opened, record(point(1, time=1)))
        size = Path(f"{path}-wal").stat().st_size
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        # The kernel refuses to write beyond; Python ignores the signal that comes with it.
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        future = commit(opened, record(point(2, time=2)))
        print(await states.next())
        print(future.done())
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        print(await states.next())
        await future

asyncio.run(main())
"""


def test_an_io_error_is_said_and_waited_for(path: Path) -> None:
    """A write that the system refuses is tried again until it works."""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    said = run_child(IO_ERROR, path).splitlines()
    assert said == [
        f"disk I/O error (SQLITE_IOERR_WRITE) on database {path}: check the disk, its free space and its quotas",
        "False",
        "None",
    ]
    assert [each.time for each in stored(path)] == [0, 1, 2]


@pytest.fixture
def anybody_path() -> Iterator[Path]:
    """A database in a folder that an unprivileged user owns: this one, or nobody where we are root."""
    folder = Path(tempfile.mkdtemp()).resolve()
    try:
        file = folder / "x.db"
        connect_writer(file).close()
        if os.geteuid() == 0:
            for each in (folder, file):
                os.chown(each, NOBODY, NOBODY)
        yield file
    finally:
        folder.chmod(0o700)
        shutil.rmtree(folder)


UNPRIVILEGED = """
import os, sys
from pathlib import Path
from enos_ingest.errors import StorageError
from enos_ingest.storage.registry import open_registry
from enos_ingest.storage.sqlite import connect_reader, connect_writer

if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
for connect in (connect_writer, connect_reader):
    try:
        connect(Path(sys.argv[1])).close()
    except StorageError as error:
        print(error)
    else:
        print("opened")
"""


def test_a_read_only_file_is_not_written(anybody_path: Path) -> None:
    """A file that the user may not write is refused at the start, and can be read."""
    anybody_path.chmod(0o444)
    assert run_child(UNPRIVILEGED, anybody_path).splitlines() == [
        f"database {anybody_path} is read-only: let this user write the file and its folder",
        "opened",
    ]


def test_a_closed_file_is_not_opened(anybody_path: Path) -> None:
    """A file that the user may not even read is refused."""
    anybody_path.chmod(0)
    sentence = f"database {anybody_path} cannot be opened: let this user read and write the file and its folder"
    assert run_child(UNPRIVILEGED, anybody_path).splitlines() == [sentence, sentence]


def test_a_read_only_folder_takes_no_database(anybody_path: Path) -> None:
    """In a folder that the user may not write nothing is made."""
    anybody_path.unlink()
    anybody_path.parent.chmod(0o555)
    assert run_child(UNPRIVILEGED, anybody_path).splitlines() == [
        f"database {anybody_path} cannot be made: Permission denied: name a folder that this user may write",
        f"no database at {anybody_path}: start the service once, or run `registry apply`",
    ]


def test_a_closed_folder_is_said(anybody_path: Path) -> None:
    """A folder that the user may not enter ends with a sentence, not with `no database`."""
    anybody_path.parent.chmod(0)
    for line in run_child(UNPRIVILEGED, anybody_path).splitlines():
        assert line.startswith(f"database {anybody_path} cannot be ")
        assert "Permission denied" in line


def test_a_file_that_was_moved_is_missed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written to a file that nobody finds any more is not acknowledged, until it is put back."""
    monkeypatch.setattr(database, "CHECK_SECONDS", 0)
    away = path.with_name("away.db")

    async def run() -> None:
        states = States()
        async with open_writer(path, on_state=states) as opened:
            shutil.move(path, away)
            future = commit(opened, record(point(1, time=1)))
            failure = await states.next()
            assert failure is not None
            assert failure.startswith(
                f"database {path} or its -wal or -lock file was moved, deleted or replaced while "
            )
            assert not future.done()
            shutil.move(away, path)
            assert await states.next() is None
            await future

    asyncio.run(run())
    assert [each.time for each in stored(path)] == [0, 1]


def test_a_lock_that_was_deleted_is_missed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another hub could open the database then, and take away what this one is about to fold."""
    lock = path.with_name("x.db-lock")
    monkeypatch.setattr(database, "CHECK_SECONDS", 0)

    async def run() -> None:
        states = States()
        async with open_writer(path, on_state=states) as opened:
            lock.rename(path.with_name("away"))
            future = commit(opened, record(point(1, time=1)))
            assert "-lock file was moved, deleted or replaced" in str(await states.next())
            assert not future.done()
            path.with_name("away").rename(lock)
            await future

    asyncio.run(run())


def test_a_log_that_was_deleted_is_missed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its log no commit is acknowledged any more; what was before is kept when the store closes."""
    log = path.with_name("x.db-wal")
    monkeypatch.setattr(database, "CHECK_SECONDS", 0)

    async def run() -> None:
        states = States()
        opened = SqliteWriter(path, on_state=states)
        await commit(opened, record(point(1, time=1)))
        log.unlink()
        future = commit(opened, record(point(2, time=2)))
        assert "-wal or -lock file was moved, deleted or replaced" in str(await states.next())
        await opened.close()
        assert isinstance(future.exception(), StoreClosedError)

    asyncio.run(run())
    assert [each.time for each in stored(path)][:2] == [0, 1]
