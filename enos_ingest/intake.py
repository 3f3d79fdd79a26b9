"""Pipeline, store and reply joined: an answer is handed out only after the record of its message is committed."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from enos_ingest.devices.changes import Change
from enos_ingest.errors import StorageError, StoreClosedError
from enos_ingest.logs import FewLines, get_logger
from enos_ingest.outcome import Outcome, Record
from enos_ingest.pipeline import Message, Pipeline
from enos_ingest.protocol.codes import Code
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.protocol.raw import may_be_raw
from enos_ingest.storage.store import Committer, Done

__all__ = ["Answer", "Intake", "RawUplinks"]

log = get_logger(__name__)

_NOTHING = Record([])

_NO_REQUEST = Outcome("none", Code.SUCCESS, "", "", b"", None)
"""Of a message that asks for nothing: it is acknowledged in its turn and has no reply.

In its turn: after the commit of all that came before it, of its sender and of others. It stores nothing itself, so a
database that is locked by somebody holds it up only behind a message that has something to store.
"""

Answer = Callable[[Outcome | None], None]
"""Takes the outcome of a message once it may be answered; None where it gets no answer, so that it is sent again."""


class RawUplinks(Protocol):
    """What takes messages in formats of products' own, and submits them to the intake as JSON."""

    def take(self, message: Message, answer: Answer) -> bool:
        """Take a message, and answer it once it may be; False for one on another topic, which nothing is done with."""
        ...

    def is_full(self, name: str) -> bool:
        """Whether too many messages wait for the codec that those on this topic need."""
        ...


class Intake:
    """Takes messages in, in order, and gives their outcomes back once they may be answered, in the same order.

    The outcome of a message comes after the commit of its record. While the store cannot commit no outcome comes,
    and `in_flight` grows until `is_full`: transports stop reading then.

    Args:
        observe: told of each outcome as it is given out, with the seconds since its receipt.
        in_flight, in_flight_bytes: how many messages, and bytes of payload, may wait for their commit.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        writer: Committer,
        observe: Callable[[Outcome, float], None],
        *,
        in_flight: int,
        in_flight_bytes: int,
    ) -> None:
        self.in_flight = 0
        """How many messages have been judged and not yet committed."""
        self.in_flight_bytes = 0
        """How many bytes of payload they have together."""
        self.store_fails = False
        """Whether the store cannot commit now; while it cannot, nothing more is taken in."""
        self.answered: Callable[[Message], None] = _nobody_asked
        """Takes each message that is no request, which may be the answer to a command: what it hands to the writer
        before it returns is committed before that message is acknowledged."""
        self.not_activated: Callable[[Sequence[DeviceId]], None] = _nobody_failed
        """Takes devices whose first login could not be stored."""
        self.raw_uplinks: RawUplinks | None = None
        """Takes what is no JSON; without it such a topic is one that nobody knows."""
        self._pipeline = pipeline
        self._writer = writer
        self._observe = observe
        self._limit = in_flight
        self._limit_bytes = in_flight_bytes
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[object, Callable[[], None]] = {}
        self._waking = False
        self._lines = FewLines()

    @property
    def is_full(self) -> bool:
        """Whether transports must not read further messages."""
        return (
            self.in_flight >= self._limit
            or self.in_flight_bytes >= self._limit_bytes
            or (self.store_fails and self.in_flight > 0)
        )

    def when_room(self, who: object, callback: Callable[[], None]) -> None:
        """Call back once there is room again, after those who asked before; whoever finds none asks again."""
        self._waiting[who] = callback

    def forget(self, who: object) -> None:
        """Call back no more."""
        self._waiting.pop(who, None)

    def submit(self, message: Message, answer: Answer) -> None:
        """Judge a message now, and call `answer` once it may be answered.

        A fault of ours is logged and leaves the message without an answer, so that its sender sends it again. One that
        a codec must decode first is judged once that has: who submits it keeps back what its sender sent after it.
        """
        if self.raw_uplinks is not None and may_be_raw(message.topic) and self.raw_uplinks.take(message, answer):
            return
        started = time.perf_counter()
        try:
            outcome = self._pipeline.process(message)
            if outcome is None:
                self.answered(message)
                outcome = _NO_REQUEST
        except Exception:  # a bug that one message finds must not stop the others
            log.exception("a message could not be judged", topic=message.topic, bytes=len(message.payload))
            answer(None)
            return
        self.commit(message, outcome, answer, started)

    def commit(self, message: Message, outcome: Outcome, answer: Answer, started: float) -> None:
        """Commit a verdict, and call `answer` once it may be answered; `started` is when the message was taken in."""
        size = len(message.payload)
        self.in_flight += 1
        self.in_flight_bytes += size
        # Where there is nothing to store, an empty record keeps the answer in its place behind those before it.
        settle = functools.partial(self._settle, message.topic, size, started, outcome, answer)
        self._writer.commit(outcome.record or _NOTHING, settle)

    def pass_by(self, answer: Answer) -> None:
        """Call `answer` in its turn for a message that is not judged: it is acknowledged and has no reply."""
        self.in_flight += 1
        settle = functools.partial(self._settle, "", 0, 0.0, _NO_REQUEST, answer)
        self._writer.commit(_NOTHING, settle)

    def activate(self, device: DeviceId, now: int, changes: Sequence[Change] = (), done: Done | None = None) -> None:
        """Store that a device has logged in for the first time, at `now` in epoch milliseconds.

        Args:
            changes: what else that changes.
            done: is told once it is on disk, or why it never will be.
        """
        self.in_flight += 1

        def settle(error: StorageError | None) -> None:
            self._finish(0)
            if error is not None:
                self.not_activated((device,))
                _log_fault(error, str(device))
            if done is not None:
                done(error)

        self._writer.commit(Record([], None, (device,), now, None, tuple(changes)), settle)

    def _settle(
        self, topic: str, size: int, started: float, outcome: Outcome, answer: Answer, error: StorageError | None
    ) -> None:
        """The store's word on a message: committed, or why it never will be."""
        self._finish(size)
        if error is not None:
            if outcome.record is not None:
                self.not_activated(outcome.record.activated)
            _log_fault(error, topic)
            answer(None)
            return
        if outcome.finish is not None:
            outcome.reply = outcome.finish()
        if outcome is not _NO_REQUEST:
            self._observe(outcome, time.perf_counter() - started)
            if outcome.code is not Code.SUCCESS:
                self._say(outcome, topic)
        answer(outcome)

    def _finish(self, size: int) -> None:
        """One message less is in flight."""
        self.in_flight -= 1
        self.in_flight_bytes -= size
        if self._waiting and not self._waking:
            self._waking = True
            self._loop.call_soon(self._wake)

    def _say(self, outcome: Outcome, topic: str) -> None:
        """Log a refusal, as long as there are not too many: each is in quarantine."""
        unsaid = self._lines.next()
        if unsaid is not None:
            rejection = outcome.record.rejection if outcome.record else None
            publisher = rejection.publisher if rejection else ""
            more = {"more": unsaid} if unsaid else {}
            code = int(outcome.code)
            log.info("refused", publisher=publisher, topic=topic, code=code, reason=outcome.reason, **more)

    def _wake(self) -> None:
        """Let those who wait go on, in their turn, as long as there is room."""
        self._waking = False
        for who in list(self._waiting):
            if self.is_full:
                return
            callback = self._waiting.pop(who, None)  # one of those before may have ended it
            if callback is not None:
                callback()


def _nobody_asked(_: Message) -> None:
    """Where no commands are sent there are no answers."""


def _nobody_failed(_: Sequence[DeviceId]) -> None:
    """Where nobody keeps who has logged in."""


def _log_fault(error: StorageError, topic: str) -> None:
    if isinstance(error, StoreClosedError):
        log.warning("stopped before a message was committed; its sender gets no answer", topic=topic)
    else:
        log.error("a message cannot be stored; its sender gets no answer", topic=topic, error=str(error))
