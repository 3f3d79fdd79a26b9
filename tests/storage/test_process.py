"""The engine in a process of its own: it does what the one in a thread does, and what happens when either dies."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pytest

from enos_ingest.devices.changes import AttributesSet, FactsWanted
from enos_ingest.devices.directory import Device, Directory, Product
from enos_ingest.errors import StorageError, StoreClosedError
from enos_ingest.outcome import Record
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.storage import process
from enos_ingest.storage import writer as writer_module
from enos_ingest.storage.reader import SqliteReader
from enos_ingest.storage.registry import open_registry
from tests.storage.process_site import open_process, pid
from tests.storage.samples import (
    DEVICE,
    PATIENCE,
    PRODUCT,
    command,
    commit,
    folded,
    ordered,
    point,
    record,
    rejection,
    stored,
)

GATEWAY = DeviceId(PRODUCT, DEVICE)


def is_gone(number: int) -> bool:
    """Whether there is no such process."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return True
    return False


def test_all_that_a_record_may_ask_for(tmp_path: Path) -> None:
    """Points, a rejection, an activation, a command, changes, and what is asked for come there and back."""
    path = tmp_path / "x.db"
    with open_registry(path) as registry:
        registry.apply(lambda _: Directory([Product(PRODUCT)], [Device(GATEWAY)]))

    async def run() -> None:
        async with open_process(path) as writer:
            number = pid(writer)
            changed = Record([], changes=(AttributesSet(GATEWAY, {"a": 1.5, "b": "x"}, 5, "post"),))
            wanted = FactsWanted("attributes", GATEWAY, ("b",))
            await asyncio.gather(
                commit(writer, record(point([1, {"k": None}], time=1), point(2, time=2, quality=7))),
                commit(writer, Record([point(3, time=3)], rejection(), (GATEWAY,), 9)),
                commit(writer, ordered(command())),
                commit(writer, changed),
                commit(writer, Record([], wanted=wanted)),
            )
            assert wanted.result == {"b": "x"}
            stats = writer.stats()
            assert (stats.committed_records, stats.committed_points, stats.quarantine_rows) == (5, 3, 1)
            await folded(writer)
            assert writer.stats().folds >= 1
        assert is_gone(number)

    asyncio.run(run())
    assert [each.value for each in stored(path)] == [[1, {"k": None}], 2, 3]
    with open_registry(path, read_only=True) as registry:
        assert registry.directory().devices[GATEWAY].activated == 9
    with SqliteReader(path) as reader:
        assert len(list(reader.quarantine(limit=10))) == 1
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM commands").fetchone() == (1,)
    assert not Path(f"{path}-wal").exists()


def test_a_bad_record_fails_alone_and_what_is_asked_for_finds_its_record(tmp_path: Path) -> None:
    """By its place among all that are committed together."""
    path = tmp_path / "x.db"

    async def run() -> None:
        async with open_process(path) as writer:
            wants = [FactsWanted("tags", GATEWAY, ()), FactsWanted("tags", GATEWAY, ())]
            results = await asyncio.gather(
                commit(writer, record(point(1, time=1))),
                commit(writer, record(point(time=2**63))),
                commit(writer, Record([], wanted=wants[0])),
                commit(writer, Record([point(2, time=2)], rejection(2**63))),
                commit(writer, Record([point(3, time=3)], wanted=wants[1])),
                return_exceptions=True,
            )
            assert [type(each) for each in results] == [type(None), StorageError, type(None), StorageError, type(None)]
            assert str(results[1]) == f"the record cannot be stored: temp: time {2**63} is no integer of 64 bits"

    asyncio.run(run())
    assert [each.value for each in stored(path)] == [1, 3]


def test_more_than_a_socket_takes(tmp_path: Path) -> None:
    """While the database is locked many megabytes wait, the event loop goes on, and all is committed in order."""
    path = tmp_path / "x.db"
    order: list[int] = []

    async def run() -> None:
        states: asyncio.Queue[str | None] = asyncio.Queue()
        async with open_process(path, on_state=states.put_nowait) as writer, asyncio.timeout(PATIENCE):
            await commit(writer, record(point(0, time=0)))
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                futures = []
                for time in range(1, 61):
                    futures.append(commit(writer, record(point("x" * 500_000, time=time))))
                    futures[-1].add_done_callback(lambda _, time=time: order.append(time))  # type: ignore[misc]
                    await asyncio.sleep(0)
                failure = await states.get()
                assert failure is not None
                assert "is locked by another program" in failure
                assert not any(each.done() for each in futures)
                other.execute("ROLLBACK")
            await asyncio.gather(*futures)
            assert await states.get() is None

    asyncio.run(run())
    assert order == list(range(1, 61))
    assert len(stored(path)) == 61


def test_close_commits_what_was_handed_in(tmp_path: Path) -> None:
    """All of it, and what comes too late is told so."""
    path = tmp_path / "x.db"

    async def run() -> None:
        async with open_process(path) as writer:
            futures = [commit(writer, record(point(number, time=number))) for number in range(2500)]
            await asyncio.gather(writer.close(), writer.close())
            assert all(each.done() and each.exception() is None for each in futures)
            with pytest.raises(StoreClosedError, match="the store is closed"):
                await commit(writer, record(point()))

    asyncio.run(run())
    assert len(stored(path)) == 2500


def test_close_gives_up_while_the_database_is_locked(tmp_path: Path) -> None:
    """What is left fails, with the reason."""
    path = tmp_path / "x.db"

    async def run() -> None:
        async with open_process(path) as writer:
            await commit(writer, record(point(0, time=0)))
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                futures = [commit(writer, record(point(time=time))) for time in range(1, 2000)]
                await writer.close()
            for each in futures:
                with pytest.raises(StoreClosedError, match="is locked by another program"):
                    await each

    asyncio.run(run())
    assert len(stored(path)) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda each: each.name)
def test_signals_for_the_hub_do_not_end_it(tmp_path: Path, number: signal.Signals) -> None:
    """A terminal and a supervisor send them to all processes; the hub drains, and needs its store for that."""
    path = tmp_path / "x.db"

    async def run() -> None:
        async with open_process(path) as writer:
            await commit(writer, record(point(1, time=1)))
            os.kill(pid(writer), number)
            await commit(writer, record(point(2, time=2)))

    asyncio.run(run())
    assert len(stored(path)) == 2


def test_a_process_that_is_killed_is_said(tmp_path: Path) -> None:
    """Nobody is answered any more, what was answered is stored, and the writer can be closed."""
    path = tmp_path / "x.db"

    async def run() -> None:
        states: asyncio.Queue[str | None] = asyncio.Queue()
        lost = asyncio.Event()
        async with open_process(path, on_state=states.put_nowait, on_lost=lost.set) as writer:
            await commit(writer, record(point(1, time=1)))
            os.kill(pid(writer), signal.SIGKILL)
            waiting = commit(writer, record(point(2, time=2)))
            async with asyncio.timeout(PATIENCE):
                await lost.wait()
                failure = await states.get()
                assert failure == "the store has ended (SIGKILL): nothing is stored until the service is started again"
                assert writer.stats().failure == failure
                later = commit(writer, record(point(3, time=3)))
                # At once: what ends the service may wait for a record of its own.
                for future in (waiting, later):
                    with pytest.raises(StoreClosedError, match=r"the store has ended \(SIGKILL\)"):
                        await future
            assert writer.stats().pending == 0

    asyncio.run(run())
    assert stored(path)[0].value == 1


def test_a_signal_without_a_name_is_said(tmp_path: Path) -> None:
    """Real-time signals have none, but for the first and the last; whoever waits is told all the same."""

    async def run() -> None:
        async with open_process(tmp_path / "x.db") as writer, asyncio.timeout(PATIENCE):
            await commit(writer, record(point(1)))
            number = signal.SIGRTMIN + 1
            os.kill(pid(writer), number)
            with pytest.raises(StoreClosedError, match=rf"the store has ended \(signal {number}\)"):
                await commit(writer, record(point(2)))

    asyncio.run(run())


def test_a_process_that_is_stopped_is_said_and_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one whose disk hangs: the hub is not ready, nobody is answered, and it goes on when the process does."""
    path = tmp_path / "x.db"
    monkeypatch.setattr(writer_module, "STALL_SECONDS", 0.1)

    async def run() -> None:
        states: asyncio.Queue[str | None] = asyncio.Queue()
        async with open_process(path, on_state=states.put_nowait) as writer, asyncio.timeout(PATIENCE):
            os.kill(pid(writer), signal.SIGSTOP)
            waiting = commit(writer, record(point(1)))
            failure = await states.get()
            assert failure is not None
            assert failure.startswith("the store has said nothing for 0.1 s: ")
            assert writer.stats().failure == failure
            assert not waiting.done()
            os.kill(pid(writer), signal.SIGCONT)
            await waiting
            while writer.stats().failure is not None:
                await states.get()

    asyncio.run(run())
    assert len(stored(path)) == 1


def test_a_process_that_does_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that is asked to stop stops: what it could not store is sent again to the next one."""
    path = tmp_path / "x.db"
    monkeypatch.setattr(process, "_END_SECONDS", 0.1)

    async def run() -> None:
        async with open_process(path) as writer, asyncio.timeout(PATIENCE):
            await commit(writer, record(point(1)))
            os.kill(pid(writer), signal.SIGSTOP)
            waiting = commit(writer, record(point(2, time=2)))
            await writer.close()
            with pytest.raises(StoreClosedError, match=r"the store has ended \(SIGKILL\)"):
                await waiting
            assert is_gone(pid(writer))

    asyncio.run(run())
    assert [each.value for each in stored(path)] == [1]


def test_what_cannot_be_heard_or_handed_over_ends_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where memory is short: the words after one that is lost would answer for the wrong records."""
    path = tmp_path / "x.db"

    def no_memory(_: object) -> bytes:
        raise MemoryError

    async def run(module: ModuleType, name: str) -> None:
        async with open_process(path) as writer, asyncio.timeout(PATIENCE):
            await commit(writer, record(point(1)))
            with monkeypatch.context() as patched:
                patched.setattr(module, name, no_memory)
                first, second = (commit(writer, record(point(time=time))) for time in (2, 3))
                for future in (first, second):
                    with pytest.raises(StoreClosedError, match=r"the store has ended \(SIGKILL\)"):
                        await future

    asyncio.run(run(process, "to_frame"))
    asyncio.run(run(pickle, "loads"))


HUB = """
import asyncio, os, sys
from pathlib import Path
from enos_ingest.storage.writer import SqliteWriter
from tests.storage.samples import commit, point, record

async def main():
    writer = SqliteWriter(Path(sys.argv[1]), process=True)
    number = 0
    while True:
        await commit(writer, record(*[point(number, time=10 * number + each) for each in range(10)]))
        print(number, writer.link.pid, flush=True)
        number += 1

asyncio.run(main())
"""


def test_a_hub_that_is_killed_takes_its_process_along(tmp_path: Path) -> None:
    """What it had acknowledged is stored, and the next hub has the database within a moment."""
    path = tmp_path / "x.db"
    with subprocess.Popen(
        [sys.executable, "-c", HUB, str(path)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    ) as hub:
        assert hub.stdout is not None
        number = child = 0
        for _ in range(50):
            number, child = map(int, hub.stdout.readline().split())
        hub.kill()

        async def run() -> None:
            async with open_process(path) as writer:
                assert is_gone(child) or pid(writer) != child
                await commit(writer, record(point("new", time=10**6)))

        asyncio.run(run())
    found = [each for each in stored(path) if each.time < 10**6]
    assert len(found) >= 10 * (number + 1)
    assert len(found) % 10 == 0
