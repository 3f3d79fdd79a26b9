"""The engine: commits what is handed in, group by group, tries again, and folds in between."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any, NamedTuple, TypeAlias

from enos_ingest.storage.database import Database
from enos_ingest.storage.faults import explain, translated
from enos_ingest.storage.fold import Fold
from enos_ingest.storage.group import Group
from enos_ingest.storage.quarantine import Bounds, Usage
from enos_ingest.storage.store import FoldState

__all__ = ["Abandoned", "Committed", "Engine", "Failed", "Folded", "Inlet", "Opened", "Word"]

FIRST_PAUSE = 0.1
LAST_PAUSE = 2.0
"""Seconds between tries while the database cannot commit: the first short, because most locks are; the last short
enough that devices are served again within seconds of the disk having space."""


class Opened(NamedTuple):
    """The database is open; what it holds."""

    usage: Usage
    fold: FoldState


class Committed(NamedTuple):
    """The next `records` records are on disk in one transaction, but for those with a fault.

    `faults` say why no database could hold a record, `found` is what records have asked for: both by the place of the
    record among these. `points` is how many were stored, `seconds` how long it took.
    """

    records: int
    points: int
    faults: Mapping[int, str]
    found: Mapping[int, dict[str, Any]]
    usage: Usage
    fold: FoldState
    seconds: float


class Failed(NamedTuple):
    """The database cannot commit now, or cannot be closed as it should; why."""

    failure: str


class Abandoned(NamedTuple):
    """The next `records` records are not stored, as the end was asked for and the database cannot commit; why."""

    records: int
    failure: str


class Folded(NamedTuple):
    """The fold went on, or cannot."""

    fold: FoldState


Word: TypeAlias = Committed | Failed | Abandoned | Folded
"""What an engine says."""


class Inlet(ABC):
    """Where an engine gets its groups from, in the order in which they were handed in."""

    def __init__(self) -> None:
        self.ended = False
        """Whether the end was asked for: no group comes any more."""
        self._kept: list[Group] = []

    def take(self, timeout: float | None) -> list[Group]:
        """All groups that are there, having waited so long for the first; None is as long as it takes."""
        found, self._kept = self._kept, []
        while not self.ended and (group := self._next(0 if found else timeout)) is not None:
            found.append(group)
        return found

    @property
    def is_empty(self) -> bool:
        """Whether no group waits to be taken."""
        if not self._kept and not self.ended and (group := self._next(0)) is not None:
            self._kept.append(group)
        return not self._kept

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to be taken and nothing comes any more."""
        return self.ended and not self._kept

    def pause(self, seconds: float) -> None:
        """Wait so long, or until the end is asked for."""
        until = monotonic() + seconds
        while not self.ended and (left := until - monotonic()) > 0:
            group = self._next(left)
            if group is not None:
                self._kept.append(group)

    @abstractmethod
    def _next(self, timeout: float | None) -> Group | None:
        """The next group; None where none has come in time, or where `ended` was found to be so."""


class Engine:
    """Owns the database while it is open for writing; in a thread or a process of its own.

    Args:
        path: the database; made where it is missing.
        bounds: how much of rejected messages is kept.
        inlet: where groups come from.
        say: told what has become of them, in their order; what it raises is not caught.

    Raises:
        StorageError: the database cannot be opened or written.
    """

    def __init__(self, path: Path, bounds: Bounds, inlet: Inlet, say: Callable[[Word], None]) -> None:
        with translated(path):
            self.database = Database(path, bounds)
            try:
                self._fold = Fold(self.database.connection, self.database.path)
            except BaseException:
                self.database.close()
                raise
        self._inlet = inlet
        self._say = say
        self._said = self._fold.state

    @property
    def opened(self) -> Opened:
        """What was found in the database, before `run`."""
        return Opened(self.database.usage, self._said)

    def run(self) -> None:
        """Commit what comes until the end is asked for and everything is committed, then close the database.

        While the database cannot commit, each group that waits at the end gets no more than one further try.
        """
        failure: str | None = None
        waiting: deque[Group] = deque()
        while waiting or not self._inlet.is_over:
            waiting.extend(self._inlet.take(0 if waiting else self._fold.patience()))
            idle = not waiting
            if waiting:
                group = waiting.popleft()
                while waiting and group.takes(waiting[0]):
                    group.extend(waiting.popleft())
                failure = self._commit(group) if failure is None else self._give_up(group, failure)
            if not self._inlet.ended:
                self._fold.advance(idle=idle, quiet=not waiting and self._inlet.is_empty)
                self._say_fold(idle=idle)
        self._close()

    def _commit(self, group: Group) -> str | None:
        """Commit, however often it takes; returns why not, once the end was asked for and it cannot be done."""
        pause = FIRST_PAUSE
        while True:
            last_try = self._inlet.ended
            started = perf_counter()
            try:
                self._fold.make_room(group.points)
                appended = self.database.commit(group)
            except Exception as error:  # noqa: BLE001 - whatever it is, the engine must live and the group be kept
                failure = explain(error, self.database.path)
                self._say(Failed(failure))
                if last_try:
                    return self._give_up(group, failure)
                self._inlet.pause(pause)
                pause = min(2 * pause, LAST_PAUSE)
            else:
                seconds = perf_counter() - started
                self._fold.appended(appended)
                self._said = self._fold.state
                found = {at: each.wanted.result for at, each in group.special.items() if each.wanted is not None}
                self._say(
                    Committed(len(group), group.points, group.faults, found, self.database.usage, self._said, seconds)
                )
                return None

    def _give_up(self, group: Group, failure: str) -> str:
        self._say(Abandoned(len(group), failure))
        return failure

    def _say_fold(self, *, idle: bool) -> None:
        """Say how it stands with the fold where the next commit does not, or would too late."""
        state = self._fold.state
        if state != self._said and (idle or state.failure != self._said.failure):
            self._said = state
            self._say(Folded(state))

    def _close(self) -> None:
        try:
            self.database.close()
        except Exception as error:  # noqa: BLE001 - all is committed or refused; the next start folds the log in
            self._say(Failed(explain(error, self.database.path)))
