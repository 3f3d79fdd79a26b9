"""One device's queue against the rule it stands for."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from enos_ingest.commands.queue import DeviceQueue

INSTANT, CACHED = "instant", "cached"


class QueueMachine(RuleBasedStateMachine):
    """The model: each unfinished command with its kind, and whether it has been taken."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = DeviceQueue()
        self.kinds: dict[str, str] = {}
        self.taken: set[str] = set()

    @initialize()
    def is_empty(self) -> None:
        """At first there is nothing."""
        assert not self.queue
        assert self.queue.next() is None

    @precondition(lambda self: len(self.kinds) < 12)
    @rule(number=st.integers(10, 60), is_cached=st.booleans())
    def add(self, number: int, is_cached: bool) -> None:
        """An instant one that need not wait goes at once, past the queue."""
        command = str(number)
        if command in self.kinds:
            return
        self.kinds[command] = CACHED if is_cached else INSTANT
        assert self.queue.must_wait(command) == self._is_behind(command)
        if is_cached or self.queue.must_wait(command):
            self.queue.add(command, is_cached=is_cached)
        else:
            self.taken.add(command)

    @precondition(lambda self: self.queue.next() is not None)
    @rule()
    def take(self) -> None:
        """Who is next goes out."""
        command = self.queue.next()
        assert command is not None
        self.queue.take()
        self.taken.add(command)

    @precondition(lambda self: self._cached_out())
    @rule()
    def put_back(self) -> None:
        """A cached one that could not be sent waits in its place again."""
        (command,) = self._cached_out()
        self.queue.put_back(command)
        self.taken.discard(command)

    @precondition(lambda self: self.kinds)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        """Any of them may come to its end at any time."""
        command = data.draw(st.sampled_from(sorted(self.kinds)))
        self.queue.finish(command)
        del self.kinds[command]
        self.taken.discard(command)

    @invariant()
    def agrees(self) -> None:
        """The oldest that waits may go unless an older cached one, or any cached one in its way, is unfinished."""
        waiting = sorted(self.kinds.keys() - self.taken)
        assert len(self._cached_out()) <= 1
        expected = None
        if waiting:
            first = waiting[0]
            is_free = not self._is_behind(first) and not (self.kinds[first] == CACHED and self._cached_out())
            expected = first if is_free else None
        assert self.queue.next() == expected
        assert self.queue.cached == sum(kind == CACHED for kind in self.kinds.values())
        assert self.queue.all_cached() == sorted(each for each, kind in self.kinds.items() if kind == CACHED)
        assert bool(self.queue) == bool(waiting or self._cached_out())

    def _cached_out(self) -> set[str]:
        return {each for each in self.taken if self.kinds[each] == CACHED}

    def _is_behind(self, command: str) -> bool:
        return any(kind == CACHED and each < command for each, kind in self.kinds.items())


TestQueueMachine = QueueMachine.TestCase
