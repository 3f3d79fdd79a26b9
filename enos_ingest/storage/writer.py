"""The writer: gathers records in the event loop, hands them to the engine, and tells who waits for them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from itertools import count, repeat
from pathlib import Path
from typing import NamedTuple

from enos_ingest.devices.changes import FactsWanted
from enos_ingest.errors import StorageError, StoreClosedError
from enos_ingest.logs import get_logger
from enos_ingest.outcome import Record
from enos_ingest.storage.engine import Abandoned, Committed, Failed, Folded, Word
from enos_ingest.storage.group import Group
from enos_ingest.storage.link import Link, ThreadLink
from enos_ingest.storage.process import ProcessLink
from enos_ingest.storage.quarantine import Bounds
from enos_ingest.storage.store import Done, FoldState, WriterStats

__all__ = ["SqliteWriter"]

log = get_logger(__name__)

QUARANTINE_ROWS = 10_000
QUARANTINE_BYTES = 64 * 2**20
"""What is kept of rejected messages unless the caller says otherwise: enough for a person to see what is wrong."""

HANDED_OVER = 100
"""Records that are handed over although the turn of the event loop goes on: the engine commits them meanwhile. Fewer
at a time cost both sides more than they gain."""

STALL_SECONDS = 10.0
"""How long the engine may say nothing of what was handed in before the store counts as failing: its disk hangs, or
somebody has stopped its process. Making room in a full inbox takes a few seconds on a slow disk."""


class _Handed(NamedTuple):
    """What is kept here of a group that was handed in: who is told of each record, and what records have asked for."""

    dones: list[Done]
    wanted: dict[int, FactsWanted]


class SqliteWriter:
    """The `Writer` for SQLite: whatever has been handed in meanwhile is committed together.

    Made and used in a running event loop; `close` must be awaited before that loop ends. Opening blocks: it belongs
    before the listeners.

    Args:
        path: the database; made where it is missing.
        quarantine_rows, quarantine_bytes: how much of rejected messages is kept.
        on_state: called in the event loop when `stats().failure` changes, with its new value.
        on_lost: called in the event loop when the engine has ended by itself: nothing is stored any more.
        process: whether the engine has a process of its own, in place of a thread of this one.

    Raises:
        StorageError: the database cannot be opened or written.
    """

    def __init__(
        self,
        path: Path,
        *,
        quarantine_rows: int = QUARANTINE_ROWS,
        quarantine_bytes: int = QUARANTINE_BYTES,
        on_state: Callable[[str | None], None] | None = None,
        on_lost: Callable[[], None] | None = None,
        process: bool = False,
    ) -> None:
        if quarantine_rows < 0 or quarantine_bytes < 0:
            msg = "quarantine_rows and quarantine_bytes cannot be negative"
            raise ValueError(msg)
        self._loop = asyncio.get_running_loop()
        make = ProcessLink if process else ThreadLink
        self.link: Link = make(path, Bounds(quarantine_rows, quarantine_bytes), self._hear, self._link_ended)
        self._on_state = on_state
        self._on_lost = on_lost
        self._group = Group()
        self._dones: list[Done] = []
        self._wanted: dict[int, FactsWanted] = {}
        self._handed: deque[_Handed] = deque()
        self._too_late: list[Done] = []
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._closed = False
        self._lost = False
        self._watch: asyncio.TimerHandle | None = None
        self._words = 0
        self._pending = 0
        self._commits = 0
        self._records = 0
        self._points = 0
        self._failed_commits = 0
        self._failure: str | None = None
        self._usage, self._fold = self.link.opened
        self._worst_seconds = 0.0
        self._total_seconds = 0.0

    def commit(self, record: Record, done: Done) -> None:
        """Hand a record in; `done` is told once it is on disk, in the order of the calls."""
        if self._closed or self._lost:
            self._refuse(done)
            return
        self._pending += 1
        # All of one turn of the event loop are handed over together, or so many of them.
        if not self._dones:
            self._loop.call_soon(self._hand_over)
        if record.wanted is not None:
            self._wanted[len(self._dones)] = record.wanted
        self._dones.append(done)
        self._group.add(record)
        if len(self._dones) == HANDED_OVER or self._group.is_full:
            self._hand_over()

    def stats(self) -> WriterStats:
        """What was done so far."""
        return WriterStats(
            pending=self._pending,
            commits=self._commits,
            committed_records=self._records,
            committed_points=self._points,
            failed_commits=self._failed_commits,
            quarantine_rows=self._usage.entries,
            quarantine_bytes=self._usage.size,
            failure=self._failure,
            commit_seconds_total=self._total_seconds,
            worst_commit_seconds=self._worst_seconds,
            unfolded_points=self._fold.points,
            folds=self._fold.folds,
            fold_seconds_total=self._fold.seconds,
            fold_failure=self._fold.failure,
        )

    async def close(self) -> None:
        """Commit everything handed in, then stop.

        While the database cannot commit, each waiting group gets no more than one further try; what is left fails
        with `StoreClosedError`.
        """
        if not self._closed:
            self._hand_over()
            self._closed = True
            if self._lost:
                self._finish()
            else:
                self.link.close()
        await asyncio.shield(self._ended)
        self.link.join()

    def _hand_over(self) -> None:
        if self._dones:
            self._handed.append(_Handed(self._dones, self._wanted))
            group, self._group, self._dones, self._wanted = self._group, Group(), [], {}
            if self._watch is None:
                self._expect_word()
            self.link.send(group)

    def _expect_word(self) -> None:
        self._watch = self._loop.call_later(STALL_SECONDS, self._look, self._words)

    def _look(self, words: int) -> None:
        """Whether the engine has said anything since it had said so many words."""
        self._watch = None
        if self._handed:
            if words == self._words:
                self._set_failure(
                    f"the store has said nothing for {STALL_SECONDS:g} s: look whether its disk answers, "
                    "and whether its process is stopped"
                )
            self._expect_word()

    def _refuse(self, done: Done) -> None:
        """Tell one that came too late, after all that were in time."""
        if self._lost:
            self._loop.call_soon(done, StoreClosedError(f"this record comes too late: {self._failure}"))
        elif self._ended.done():
            self._loop.call_soon(done, StoreClosedError("the store is closed"))
        else:
            self._too_late.append(done)

    def _hear(self, word: Word) -> None:
        self._words += 1
        match word:
            case Committed():
                self._committed(word)
            case Folded(fold):
                self._folded(fold)
            case Failed(failure):
                self._failed_commits += 1
                self._set_failure(failure)
            case Abandoned(records, failure):
                self._abandon(self._take(records), failure)

    def _committed(self, word: Committed) -> None:
        self._commits += 1
        self._worst_seconds = max(self._worst_seconds, word.seconds)
        self._total_seconds += word.seconds
        self._usage = word.usage
        self._records += word.records - len(word.faults)
        self._points += word.points
        self._folded(word.fold)
        # Before those who wait are told: they may ask.
        self._set_failure(None)
        before = 0
        for handed in self._take(word.records):
            for at, wanted in handed.wanted.items():
                wanted.result = word.found.get(before + at, wanted.result)
            if word.faults:
                faults = (word.faults.get(at) for at in count(before))
                _tell_all(handed.dones, (None if fault is None else StorageError(fault) for fault in faults))
            else:
                _tell_all(handed.dones, repeat(None))
            before += len(handed.dones)

    def _take(self, records: int) -> list[_Handed]:
        """The oldest that were handed in, so many records; a group is committed with others, never in parts."""
        taken = []
        while records:
            handed = self._handed.popleft()
            records -= len(handed.dones)
            taken.append(handed)
        self._pending -= sum(len(handed.dones) for handed in taken)
        return taken

    def _abandon(self, taken: Iterable[_Handed], failure: str) -> None:
        msg = f"the store was closed before this record could be committed: {failure}"
        for handed in taken:
            _tell_all(handed.dones, repeat(StoreClosedError(msg)))

    def _folded(self, fold: FoldState) -> None:
        before, self._fold = self._fold.failure, fold
        if fold.failure is None and before is not None:
            log.info("points are folded again", points=fold.points)
        elif fold.failure is not None and fold.failure != before:
            log.error("points stay in the inbox: folding them fails, and is tried again", reason=fold.failure)

    def _link_ended(self, reason: str | None) -> None:
        if reason is not None:
            self._lost = True
            self._set_failure(f"the store has ended ({reason}): nothing is stored until the service is started again")
            if self._on_lost is not None and not self._closed:
                self._on_lost()
        # Whoever waits must not wait for ever, least of all for what ends the service. The link drops what it gets.
        self._hand_over()
        self._abandon(self._take(self._pending), self._failure or "it had ended")
        if self._closed:
            self._finish()

    def _finish(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        _tell_all(self._too_late, repeat(StoreClosedError("the store is closed")))
        self._too_late.clear()
        self._ended.set_result(None)

    def _set_failure(self, failure: str | None) -> None:
        if failure == self._failure:
            return
        self._failure = failure
        if self._on_state is not None:
            try:
                self._on_state(failure)
            except Exception:  # a fault of one who listens must not keep those who wait from being told
                log.exception("what listened for the state of the store failed")


def _tell_all(dones: Iterable[Done], faults: Iterable[StorageError | None]) -> None:
    """Tell each that waits its fault; what fails in one must not keep the others waiting."""
    rest = zip(dones, faults, strict=False)
    while True:
        try:
            for done, fault in rest:
                done(fault)
        except Exception:  # the next round goes on with the one after it
            log.exception("what waited for a commit failed")
        else:
            return
