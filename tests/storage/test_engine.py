"""The engine by itself: what becomes of groups at moments that threads and processes meet by chance only."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from enos_ingest.outcome import Record
from enos_ingest.storage.engine import Abandoned, Committed, Engine, Failed, Inlet, Word
from enos_ingest.storage.group import Group
from enos_ingest.storage.quarantine import Bounds
from tests.storage.samples import point, record, rejection, stored


class Script(Inlet):
    """Groups that are there already, None for the end; it never waits."""

    def __init__(self, *groups: Group | None) -> None:
        super().__init__()
        self.groups = deque(groups)

    def _next(self, timeout: float | None) -> Group | None:
        assert self.groups or timeout is not None, "it would wait for ever"
        if not self.groups:
            return None
        group = self.groups.popleft()
        self.ended = group is None
        return group


def group(*records: Record) -> Group:
    """A group of these records."""
    made = Group()
    for each in records:
        made.add(each)
    return made


def run(
    path: Path, inlet: Script, on_failed: Callable[[sqlite3.Connection], object] | None = None
) -> list[Committed | Abandoned]:
    """Let an engine run to its end; returns what it says of groups.

    With `on_failed` another program holds the database from when it is open; its connection is given to `on_failed`
    at the first fault.
    """
    words: list[Committed | Abandoned] = []
    at_fault = [] if on_failed is None else [on_failed]
    with closing(sqlite3.connect(path, isolation_level=None)) as other:

        def say(word: Word) -> None:
            if isinstance(word, Committed | Abandoned):
                words.append(word)
            elif isinstance(word, Failed) and at_fault:
                at_fault.pop()(other)

        engine = Engine(path, Bounds(1000, 2**20), inlet, say)
        if at_fault:
            other.execute("BEGIN IMMEDIATE")
        engine.run()
    return words


@pytest.mark.parametrize("later", [1, 3])
def test_what_comes_while_the_database_is_locked_is_committed_at_the_end(tmp_path: Path, later: int) -> None:
    """The end is asked for during the pause before another try, behind groups that came in the same pause."""
    path = tmp_path / "x.db"
    inlet = Script(group(record(point(0, time=0))))

    def meanwhile(other: sqlite3.Connection) -> None:
        other.execute("ROLLBACK")
        inlet.groups.extend([*(group(record(point(time, time=time))) for time in range(1, later + 1)), None])

    words = run(path, inlet, meanwhile)
    assert [type(word) for word in words] == [Committed, Committed]
    assert sum(word.records for word in words) == 1 + later
    assert [each.time for each in stored(path)] == list(range(later + 1))


def test_what_comes_while_the_database_is_locked_is_given_up_at_the_end(tmp_path: Path) -> None:
    """Each is told so: nobody waits for a word that never comes."""
    path = tmp_path / "x.db"
    inlet = Script(group(record(point(0, time=0))))
    words = run(path, inlet, lambda _: inlet.groups.extend([group(record(point(1, time=1))), None]))
    assert [(type(word), word.records) for word in words] == [(Abandoned, 1), (Abandoned, 1)]
    assert stored(path) == []


def test_series_of_records_that_were_rolled_back_are_made_again(tmp_path: Path) -> None:
    """A group with a record at fault is locked out, tried again and written record by record, all series new in it.

    What was tried is rolled back, with the ids of its series. The series are used again afterwards, that of the
    faulty record too, and by a new start.
    """
    path = tmp_path / "x.db"
    faulty = Record([point(0, name="faulty", time=2)], rejection(2**63))
    first = group(record(point(1, name="a", time=1)), faulty, record(point(3, name="b", time=3)))
    inlet = Script(first)

    def meanwhile(other: sqlite3.Connection) -> None:
        other.execute("ROLLBACK")
        names = ("c", "faulty", "b", "a")
        inlet.groups.extend(group(record(point(time, name=name, time=time))) for time, name in enumerate(names, 4))
        inlet.groups.append(None)

    words = run(path, inlet, meanwhile)
    assert isinstance(words[0], Committed)
    assert (words[0].records, words[0].points, list(words[0].faults)) == (3, 2, [1])
    run(path, Script(group(record(point(8, name="faulty", time=8))), None))
    found = sorted((each.time, each.measurepoint, each.value) for each in stored(path))
    assert found == [
        (1, "a", 1), (3, "b", 3), (4, "c", 4), (5, "faulty", 5), (6, "b", 6), (7, "a", 7), (8, "faulty", 8),
    ]  # fmt: skip
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM series").fetchone() == (4,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_a_record_beyond_every_bound_is_taken_and_folded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more points than the inbox may hold: it is emptied first, and holds that record alone."""
    monkeypatch.setattr("enos_ingest.storage.fold.MOST_POINTS", 100)
    path = tmp_path / "x.db"
    big = [group(record(*[point(time, time=time) for time in range(start, start + 250)])) for start in (0, 200)]
    words = run(path, Script(group(record(point("x", time=1))), *big, None))
    assert sum(word.records for word in words) == 3
    assert [each.value for each in stored(path)] == list(range(450))
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT sum(points) FROM inbox").fetchone()[0] <= 501
