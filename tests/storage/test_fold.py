"""The fold beside the commits: what it holds up, what holds it up, and what is left when it is cut off."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from enos_ingest.devices.directory import Device, Directory, Product
from enos_ingest.outcome import Record
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.storage import fold, inbox
from enos_ingest.storage.fold import Fold
from enos_ingest.storage.reader import SqliteReader
from enos_ingest.storage.registry import open_registry
from enos_ingest.storage.sqlite import connect_writer
from tests.storage.samples import PATIENCE, PRODUCT, commit, folded, open_writer, point, record, stored


def many(count: int, start: int = 0, value: object = 1) -> Record:
    """A record of so many points, one at each time from `start` on."""
    return record(*[point(value, time=time) for time in range(start, start + count)])


def counts(path: Path) -> tuple[int, int]:
    """How many points are in their place, and how many commits are in the inbox."""
    with closing(sqlite3.connect(path)) as connection:
        (row,) = connection.execute("SELECT (SELECT count(*) FROM points), (SELECT count(*) FROM inbox)").fetchall()
    return row[0], row[1]


def threads() -> list[str]:
    """The writers' threads that run."""
    return [each.name for each in threading.enumerate() if each.name == "enos-ingest-writer"]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """An inbox that a few hundred points fill, and folds of many steps."""
    monkeypatch.setattr(fold, "FOLD_POINTS", 300)
    monkeypatch.setattr(fold, "MOST_POINTS", 1000)
    monkeypatch.setattr(fold, "IDLE_SECONDS", 0.01)
    monkeypatch.setattr(fold, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(fold, "LAST_PAUSE", 0.05)
    monkeypatch.setattr(fold, "SLICE_SIZE", 1500)


@pytest.mark.parametrize("count", [10, 3000])
def test_an_idle_hub_folds_and_then_rests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """When nothing comes any more everything is put in its place; after that the thread sleeps until it is called."""
    monkeypatch.setattr(fold, "IDLE_SECONDS", 0.01)
    path = tmp_path / "x.db"
    asked: list[float | None] = []
    patience = Fold.patience

    def noted(self: Fold) -> float | None:
        asked.append(patience(self))
        return asked[-1]

    monkeypatch.setattr(Fold, "patience", noted)

    async def run() -> None:
        async with open_writer(path) as writer:
            await commit(writer, many(count))
            await folded(writer)
            async with asyncio.timeout(PATIENCE):
                while asked[-1] is not None:
                    await asyncio.sleep(0.01)
            assert counts(path) == (count, 0)
            assert writer.stats().folds == 1
            before = len(asked)
            # That nothing happens has no event.
            await asyncio.sleep(0.2)
            assert len(asked) == before

    asyncio.run(run())
    assert len(stored(path)) == count


@pytest.mark.usefixtures("small")
def test_a_full_inbox_holds_commits_back(tmp_path: Path) -> None:
    """However fast they come, no more points wait for the fold than the bound says, and all are stored."""
    path = tmp_path / "x.db"
    most = 0

    async def run() -> None:
        nonlocal most
        async with open_writer(path) as writer:

            def look(_: asyncio.Future[None]) -> None:
                nonlocal most
                most = max(most, writer.stats().unfolded_points)

            futures = []
            for start in range(0, 40_000, 200):
                futures.append(commit(writer, many(200, start, start)))
                futures[-1].add_done_callback(look)
                await asyncio.sleep(0)
            await asyncio.gather(*futures)
            await folded(writer)

    # A group is never cut, so one that is bigger than the bound is alone in the inbox.
    asyncio.run(run())
    assert 0 < most <= max(1000, 20_000)
    assert [(each.time, each.value) for each in stored(path)] == [(time, time // 200 * 200) for time in range(40_000)]
    assert counts(path) == (40_000, 0)


@pytest.mark.usefixtures("small")
def test_a_record_bigger_than_the_inbox(tmp_path: Path) -> None:
    """It waits until the inbox is empty, however little is in it, and is stored then."""
    path = tmp_path / "x.db"

    async def run() -> None:
        async with open_writer(path) as writer, asyncio.timeout(PATIENCE):
            for start in (0, 10_000, 20_000):
                await asyncio.gather(commit(writer, many(5, start)), commit(writer, many(3000, start + 5)))

    asyncio.run(run())
    assert len(stored(path)) == 9015


def test_long_values_fill_the_inbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound counts characters too."""
    monkeypatch.setattr(fold, "MOST_SIZE", 500_000)
    monkeypatch.setattr(fold, "FOLD_SIZE", 200_000)
    path = tmp_path / "x.db"

    async def run() -> None:
        async with open_writer(path) as writer:
            for time in range(40):
                await commit(writer, record(point("x" * 50_000, time=time)))
                with closing(sqlite3.connect(path)) as other:
                    (size,) = other.execute("SELECT coalesce(sum(size), 0) FROM inbox").fetchone()
                assert size <= 600_000

    asyncio.run(run())
    assert [len(each.value) for each in stored(path)] == [50_000] * 40


def break_points(path: Path) -> Callable[[], object]:
    """Let nothing be put in its place, while the inbox takes everything; returns what mends it."""

    def run(statement: str) -> None:
        with closing(sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)) as other:
            other.execute(statement)

    run("CREATE TRIGGER broken BEFORE INSERT ON points BEGIN SELECT RAISE(FAIL, 'broken'); END")
    return lambda: run("DROP TRIGGER broken")


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("count", [5, 100])
def test_a_fold_that_fails_holds_up_nobody_while_there_is_room(tmp_path: Path, count: int) -> None:
    """Commits go on until the inbox is full; then the store says why it cannot go on, and goes on once it can."""
    path = tmp_path / "x.db"

    async def run() -> None:
        changed: asyncio.Queue[str | None] = asyncio.Queue()
        async with open_writer(path, on_state=changed.put_nowait) as writer:
            await commit(writer, many(1))
            mend = break_points(path)
            start = 1
            while writer.stats().unfolded_points + count <= 1000:
                await commit(writer, many(count, start))
                start += count
                assert writer.stats().failure is None
            waiting = [commit(writer, many(count, start)), commit(writer, record())]
            async with asyncio.timeout(PATIENCE):
                failure = await changed.get()
                assert failure is not None
                assert "broken" in failure
                assert writer.stats().fold_failure == failure
                assert not any(each.done() for each in waiting)
                mend()
                assert await changed.get() is None
                await asyncio.gather(*waiting)
            await folded(writer)
            assert writer.stats().fold_failure is None
        assert [each.time for each in stored(path)] == list(range(start + count))
        assert counts(path) == (start + count, 0)

    asyncio.run(run())


@pytest.mark.usefixtures("small")
def test_a_lock_amid_a_fold_is_waited_for(tmp_path: Path) -> None:
    """Another program takes the lock again and again amid a fold: nothing is lost or out of order."""
    path = tmp_path / "x.db"
    stop = threading.Event()

    def disturb() -> None:
        with closing(sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)) as other:
            while not stop.is_set():
                other.execute("BEGIN IMMEDIATE")
                stop.wait(0.02)
                other.execute("ROLLBACK")
                stop.wait(0.005)

    async def run() -> None:
        async with open_writer(path) as writer:
            disturber = threading.Thread(target=disturb)
            disturber.start()
            try:
                for value in range(30):
                    await commit(writer, many(100, 50 * (value % 3), value))
            finally:
                stop.set()
                disturber.join()
            await folded(writer)

    asyncio.run(run())
    expected = {time: value for value in range(30) for time in range(50 * (value % 3), 50 * (value % 3) + 100)}
    assert {each.time: each.value for each in stored(path)} == expected


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("turns", [0, 1, 3, 10, 50])
def test_close_amid_a_fold(tmp_path: Path, turns: int) -> None:
    """Whatever the fold is about, closing ends the thread and every connection, and loses nothing."""
    path = tmp_path / "x.db"

    async def run() -> None:
        async with open_writer(path) as writer:
            futures = [commit(writer, many(150, 100 * number, number)) for number in range(20)]
            await futures[turns % 20]
            for _ in range(turns):
                await asyncio.sleep(0.001)
            async with asyncio.timeout(PATIENCE):
                await writer.close()
            assert all(each.done() and each.exception() is None for each in futures)

    asyncio.run(run())
    assert threads() == []
    # The last connection takes the log with it.
    assert sorted(each.name for each in tmp_path.iterdir() if "-wal" in each.name or "-shm" in each.name) == []
    expected = {time: number for number in range(20) for time in range(100 * number, 100 * number + 150)}
    assert {each.time: each.value for each in stored(path)} == expected

    async def again() -> None:
        async with open_writer(path) as writer:
            await folded(writer)

    asyncio.run(again())
    assert {each.time: each.value for each in stored(path)} == expected
    assert counts(path) == (len(expected), 0)


@pytest.mark.usefixtures("small")
def test_a_start_with_a_full_inbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a kill has left in the inbox, more than it may hold, is folded; newer points go before it."""
    path = tmp_path / "x.db"
    with monkeypatch.context() as context:
        context.setattr(fold, "FOLD_POINTS", 10**9)
        context.setattr(fold, "MOST_POINTS", 10**9)
        context.setattr(fold, "IDLE_SECONDS", 3600.0)

        async def fill() -> None:
            async with open_writer(path) as writer:
                for number in range(10):
                    await commit(writer, many(500, 100 * number, number))

        asyncio.run(fill())
        assert counts(path) == (0, 10)

    async def run() -> None:
        async with open_writer(path) as writer:
            assert writer.stats().unfolded_points == 5000
            async with asyncio.timeout(PATIENCE):
                await commit(writer, many(100, 0, "new"))
            assert writer.stats().unfolded_points <= 1000
            await folded(writer)

    asyncio.run(run())
    expected: dict[int, object] = {
        time: number for number in range(10) for time in range(100 * number, 100 * number + 500)
    }
    expected |= dict.fromkeys(range(100), "new")
    assert {each.time: each.value for each in stored(path)} == expected


@pytest.mark.usefixtures("small")
def test_the_registry_changes_beside_a_fold(tmp_path: Path) -> None:
    """Another connection changes the registry while commits and folds follow each other without a pause."""
    path = tmp_path / "x.db"

    def apply() -> None:
        for number in range(1, 6):
            devices = [Device(DeviceId(PRODUCT, f"d{each}")) for each in range(number)]
            with open_registry(path) as registry:
                registry.apply(lambda _, devices=devices: Directory([Product(PRODUCT)], devices))  # type: ignore[misc]

    async def run() -> None:
        async with open_writer(path) as writer:
            applied = asyncio.create_task(asyncio.to_thread(apply))
            start = 0
            while not applied.done():
                await asyncio.gather(*[commit(writer, many(100, start + 100 * number)) for number in range(4)])
                start += 400
            await applied
        assert len(stored(path)) == start

    asyncio.run(run())
    with open_registry(path, read_only=True) as registry:
        assert len(registry.directory().devices) == 5


def log_size(path: Path) -> int:
    """Bytes of the write-ahead log."""
    return Path(f"{path}-wal").stat().st_size


@pytest.mark.usefixtures("small")
def test_the_log_stays_short(tmp_path: Path) -> None:
    """Commits and folds without a pause, and a reader that has stopped half-way: the log is used again and again."""
    path = tmp_path / "x.db"

    async def run() -> None:
        async with open_writer(path) as writer:
            await commit(writer, many(500))
            with SqliteReader(path) as reader:
                paused = reader.points(PRODUCT, "gw-1")
                next(paused)
                sizes = []
                for start in range(0, 120_000, 400):
                    await commit(writer, record(*[point("x" * 200, time=time) for time in range(start, start + 400)]))
                    sizes.append(log_size(path))
                del paused
        # 24 MB of values are written twice. While one reads, for a sort as well, the log grows, then it is used again.
        assert max(sizes) < 36_000_000

    asyncio.run(run())


def test_a_log_that_cannot_go_to_the_file_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no point left to be folded too: a hub that nobody reports to must become ready again."""
    monkeypatch.setattr(fold, "LOG_PAGES", 1)
    monkeypatch.setattr(fold, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(fold, "IDLE_SECONDS", 0.0)
    denied = True

    def authorize(action: int, name: str | None, *_: str | None) -> int:
        checkpoint = action == sqlite3.SQLITE_PRAGMA and name == "wal_checkpoint"
        return sqlite3.SQLITE_DENY if checkpoint and denied else sqlite3.SQLITE_OK

    with closing(connect_writer(tmp_path / "x.db")) as connection:
        connection.set_authorizer(authorize)
        connection.execute("INSERT INTO series (id, product_key, device_key, measurepoint) VALUES (1, 'P', 'd', 'm')")
        folding = Fold(connection, tmp_path / "x.db")
        folding.appended(inbox.append(connection, [(1, 1, "1", None, 0)]))
        while folding.points:
            folding.advance(idle=True)
        folding.advance(idle=True, quiet=True)
        assert folding.state.failure is not None
        denied = False
        # As the engine does with nothing to commit.
        while (patience := folding.patience()) is not None:
            assert patience < 1
            folding.advance(idle=True, quiet=True)
        assert folding.state.failure is None
