"""Whatever comes when, appends, folds, faults and restarts: readers always see what was last accepted."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import orjson
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from enos_ingest.outcome import Point
from enos_ingest.storage import fold, inbox, opened
from enos_ingest.storage.fold import Fold
from enos_ingest.storage.inbox import ORIGINS
from enos_ingest.storage.reader import SqliteReader
from enos_ingest.storage.sqlite import connect_writer

PRODUCT = "EbxGvUrE"
SERIES = {1: ("d1", "a"), 2: ("d1", "b"), 3: ("d2", "a")}
TIMES = 5
PATIENCE = 60
"""Seconds that are as good as for ever."""

Key: TypeAlias = tuple[int, int]
"""Series and time."""

Stored: TypeAlias = tuple[str, int | None, int]
"""Value as JSON text, quality, index of the origin."""

rows = st.tuples(
    st.sampled_from(sorted(SERIES)),
    st.integers(1, TIMES),
    st.sampled_from(["1", "2.0", "null", '"a\\u0000\\"b"', '{"x":[1]}', '"' + "long" * 20 + '"']),
    st.none() | st.sampled_from([0, 2**63 - 1, -(2**63)]),
    st.integers(0, len(ORIGINS) - 1),
)

few = st.lists(st.lists(rows, min_size=1, max_size=2), min_size=1, max_size=2)
many = st.lists(st.lists(rows, min_size=1, max_size=8), min_size=1, max_size=4)

SMALL: list[tuple[ModuleType, dict[str, float]]] = [
    # So small that a few points take several sorts, several slices and several removals, and fill the inbox.
    (fold, {"FOLD_POINTS": 6, "FOLD_SIZE": 2000, "MOST_POINTS": 40, "MOST_SIZE": 6000,
            "FOLD_SECONDS": 3600.0, "IDLE_SECONDS": 3600.0, "FIRST_PAUSE": 0.0, "LAST_PAUSE": 0.0,
            "SLICE_SIZE": 150, "REMOVED_SIZE": 100}),
    (opened, {"PAGE": 2}),
]  # fmt: skip


class FoldMachine(RuleBasedStateMachine):
    """A database that is appended to and folded, and a dict that holds what was accepted last."""

    def __init__(self) -> None:
        super().__init__()
        self.patched = pytest.MonkeyPatch()
        for module, constants in SMALL:
            for name, value in constants.items():
                self.patched.setattr(module, name, value)
        self.folder = Path(tempfile.mkdtemp())
        self.copies = 0
        self.path = self.folder / "x.db"
        self.model: dict[Key, Stored] = {}
        self.history: list[dict[Key, Stored]] = [{}]
        self.paused: list[tuple[int, list[Point], Iterator[Point]]] = []
        self.open()
        names = [(series, PRODUCT, *name) for series, name in SERIES.items()]
        self.connection.executemany("INSERT INTO series VALUES (?, ?, ?, ?)", names)

    def open(self) -> None:
        """Start as a service does."""
        self.connection = connect_writer(self.path, busy_ms=1)
        # The disk is not what is tested here; `unsynced` sets it back, which costs little.
        self.connection.execute("PRAGMA synchronous = OFF")
        self.fold = Fold(self.connection, self.path)
        self.reader = SqliteReader(self.path)

    def close(self) -> None:
        """Stop as a service does."""
        self.paused.clear()
        self.reader.close()
        self.connection.close()

    def teardown(self) -> None:
        """In the end everything is folded: the points are in their place and nothing else is left."""
        try:
            self.finish_readers()
            while self.fold.points:
                self.wait()
            assert self.fold.patience() is None
            assert self.connection.execute("SELECT count(*) FROM inbox").fetchone() == (0,)
            assert self.connection.execute("SELECT series, time, value, quality, origin FROM points").fetchall() == [
                (*key, *stored) for key, stored in sorted(self.model.items())
            ]
            assert [name for _, name, _ in self.connection.execute("PRAGMA database_list")] == ["main"]
        finally:
            self.close()
            shutil.rmtree(self.folder)
            self.patched.undo()

    @rule(batches=few | many, idle=st.booleans())
    def commit(self, batches: list[list[tuple[Any, ...]]], idle: bool) -> None:
        """What the writer does for a group, and then for the fold."""
        rows = [tuple(row) for batch in batches for row in batch]
        points = len(rows)
        self.fold.make_room(points)
        assert not self.fold.points or self.fold.points + points <= fold.MOST_POINTS
        self.fold.appended(inbox.append(self.connection, rows))
        for batch in batches:
            for series, time, *stored in batch:
                self.model[series, time] = (stored[0], stored[1], stored[2])
        self.history.append(dict(self.model))
        self.go_on(idle=idle)

    @rule(idle=st.booleans())
    def go_on(self, idle: bool) -> None:
        """The fold does what is due."""
        self.fold.advance(idle=idle)
        assert self.fold.state.failure is None

    @rule()
    def wait(self) -> None:
        """What the engine does when nothing comes: it waits as long as the fold says."""
        if self.fold.points:
            patience = self.fold.patience()
            if patience is not None and patience > PATIENCE:
                with self.patched.context() as later:
                    later.setattr(fold, "FOLD_SECONDS", 0.0)
                    self.go_on(idle=True)
                return
            assert patience == 0, "the fold waits for what does not come"
            self.go_on(idle=True)

    @rule(idle=st.booleans())
    def advance_while_locked(self, idle: bool) -> None:
        """Another program holds the database: the fold may fail, and goes on later."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            self.fold.advance(idle=idle)
            assert self.fold.state.failure is None or "is locked by another program" in self.fold.state.failure
            other.execute("ROLLBACK")
        # Until the next step that is done the failure stands.
        self.fold._failure = None  # noqa: SLF001

    @rule()
    def restart(self) -> None:
        """The service stops and starts."""
        self.close()
        self.open()

    @rule()
    def crash(self) -> None:
        """The service is killed: it starts on the files as they are now."""
        self.copies += 1
        copy = self.folder / f"copy-{self.copies}.db"
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{self.path}{suffix}", f"{copy}{suffix}")
        self.close()
        self.path = copy
        self.open()

    @rule(device=st.sampled_from(["d1", "d2"]), count=st.integers(0, 4))
    def pause_a_reader(self, device: str, count: int) -> None:
        """Somebody reads a few points, and the rest later."""
        found = self.reader.points(PRODUCT, device)
        self.paused.append((len(self.history) - 1, list(islice(found, count)), found))

    @rule()
    def finish_readers(self) -> None:
        """Who paused finds what was there when it began, each point once, in order, as it was then or later."""
        for began, first, rest in self.paused:
            points = [*first, *rest]
            keys = [(point.measurepoint, point.time) for point in points]
            assert keys == sorted(set(keys))
            for point in points:
                assert any(stored(point) == then.get(key(point)) for then in self.history[began:])
            # All of one device: nothing to compare with where it has no point.
            if points:
                device = points[0].device_key
                wanted = {each for each in self.history[began] if SERIES[each[0]][0] == device}
                assert wanted <= {key(point) for point in points}
        self.paused.clear()

    @invariant()
    def readers_see_the_last_accepted(self) -> None:
        """Folded, half folded or not: points, latest values and the view are those of the dict."""
        found = [point for device in ("d1", "d2") for point in self.reader.points(PRODUCT, device)]
        assert {key(point): stored(point) for point in found} == self.model
        assert len(found) == len(self.model)
        newest = {series: max(time for each, time in self.model if each == series) for series, _ in self.model}
        latest = [point for device in ("d1", "d2") for point in self.reader.latest(PRODUCT, device)]
        assert {key(point): stored(point) for point in latest} == {each: self.model[each] for each in newest.items()}
        shown = self.connection.execute(
            "SELECT device_key, measurepoint, time, value, quality, origin FROM main.measurepoints"
        ).fetchall()
        assert sorted(shown) == sorted(
            (*SERIES[series], time, value, quality, ORIGINS[origin])
            for (series, time), (value, quality, origin) in self.model.items()
        )

    @invariant()
    def the_inbox_is_counted(self) -> None:
        """What the fold believes of the inbox is so."""
        assert self.fold.points == self.connection.execute("SELECT coalesce(sum(points), 0) FROM inbox").fetchone()[0]


def key(point: Point) -> Key:
    names = {name: series for series, name in SERIES.items()}
    return names[point.device_key, point.measurepoint], point.time


def stored(point: Point) -> Stored:
    return orjson.dumps(point.value).decode(), point.quality, ORIGINS.index(point.origin)


TestFold = FoldMachine.TestCase
TestFold.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
