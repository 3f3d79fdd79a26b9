"""Pipeline, store and reply joined: a reply is handed out only after its record is committed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from enos_ingest.errors import StorageError, StoreClosedError
from enos_ingest.logs import get_logger
from enos_ingest.outcome import Outcome, Record
from enos_ingest.pipeline import Message, Pipeline
from enos_ingest.protocol.codes import Code
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.storage.store import Writer

__all__ = ["Intake"]

log = get_logger(__name__)

_NOTHING = Record([])


class Intake:
    """Takes messages in, in order, and gives their outcomes back once they may be answered.

    The outcome of a message comes after the commit of its record. While the store cannot commit no outcome
    comes, and `in_flight` grows: transports stop reading at the limits.

    Args:
        observe: told of each outcome as it is given out, with the seconds since its receipt.
    """

    def __init__(self, pipeline: Pipeline, writer: Writer, observe: Callable[[Outcome, float], None]) -> None:
        self._pipeline = pipeline
        self._writer = writer
        self._observe = observe
        self._in_flight = 0
        self._in_flight_bytes = 0

    @property
    def in_flight(self) -> int:
        """How many messages have been judged and not yet committed."""
        return self._in_flight

    @property
    def in_flight_bytes(self) -> int:
        """How many bytes of payload they have together."""
        return self._in_flight_bytes

    def submit(self, message: Message, answer: Callable[[Outcome], None]) -> None:
        """Judge a message now, and call `answer` once its reply may leave.

        A message that is no request is dropped. A fault of ours is logged and leaves the message without an
        answer, so that its sender sends it again.
        """
        started = time.perf_counter()
        try:
            outcome = self._pipeline.process(message)
        except Exception:  # a bug that one message finds must not stop the others
            log.exception("a message could not be judged", topic=message.topic, bytes=len(message.payload))
            return
        if outcome is None:
            log.debug("not a request", topic=message.topic)
            return
        size = len(message.payload)
        self._in_flight += 1
        self._in_flight_bytes += size

        def committed(future: asyncio.Future[None]) -> None:
            self._in_flight -= 1
            self._in_flight_bytes -= size
            if self._is_committed(future, message.topic):
                self._give_out(outcome, message.topic, started, answer)

        # Where there is nothing to store, an empty record keeps the answer in its place behind those before it.
        self._writer.commit(outcome.record or _NOTHING).add_done_callback(committed)

    def activate(self, device: DeviceId, now: int) -> None:
        """Store that a device has logged in for the first time, at `now` in epoch milliseconds."""
        future = self._writer.commit(Record([], None, device, now))
        future.add_done_callback(lambda done: self._is_committed(done, str(device)))

    def _give_out(self, outcome: Outcome, topic: str, started: float, answer: Callable[[Outcome], None]) -> None:
        self._observe(outcome, time.perf_counter() - started)
        if outcome.code is not Code.SUCCESS:
            rejection = outcome.record.rejection if outcome.record else None
            publisher = rejection.publisher if rejection else ""
            log.info("refused", publisher=publisher, topic=topic, code=int(outcome.code), reason=outcome.reason)
        answer(outcome)

    def _is_committed(self, future: asyncio.Future[None], topic: str) -> bool:
        if future.cancelled():
            return False
        match future.exception():
            case None:
                return True
            case StoreClosedError():
                log.warning("stopped before a message was committed; its sender gets no answer", topic=topic)
            case StorageError() as error:
                log.error("a message cannot be stored; its sender gets no answer", topic=topic, error=str(error))
            case error:
                log.error("the writer failed", topic=topic, exc_info=error)
        return False
