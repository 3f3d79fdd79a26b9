"""Answers to commands as they come in: from whom, on which topic, in whose format."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from enos_ingest.commands.answer import Answer, parse_answer, read_answer
from enos_ingest.commands.downlink import is_raw, parse_answer_topic
from enos_ingest.commands.links import CommandCounters, IgnoredReason
from enos_ingest.devices.access import may_publish
from enos_ingest.devices.directory import Directory
from enos_ingest.errors import EnosIngestError
from enos_ingest.logs import FewLines, get_logger
from enos_ingest.pipeline import Message
from enos_ingest.protocol.identity import DeviceId

__all__ = ["Answers", "Decode"]

log = get_logger(__name__)

Decode = Callable[[DeviceId, bytes], Awaitable[dict[str, Any]]]
"""Turns an answer in a product's own format into a JSON object; raises an `EnosIngestError` where it cannot."""

_DECODING = 8
"""How many answers of one device may be with the codec beyond one for each command that is out."""


class Answers:
    """Hands on what devices answer, as long as something of theirs is unanswered; what else comes is counted.

    Args:
        take: takes an answer of a device with its topic; says why it ends no command, None where it ends one.
        limit: the longest answer that is read.
        decode: decodes answers in a product's own format; None where there are none.
    """

    def __init__(
        self,
        take: Callable[[DeviceId, str, Answer], IgnoredReason | None],
        counters: CommandCounters,
        directory: Callable[[], Directory],
        *,
        limit: int,
        decode: Decode | None,
    ) -> None:
        self.unanswered: Counter[DeviceId] = Counter()
        """How many commands of each device have been sent and not answered; none with 0."""
        self._take = take
        self._counters = counters
        self._directory = directory
        self._limit = limit
        self._decode = decode
        self._loop = asyncio.get_running_loop()
        self._decoding: Counter[DeviceId] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._lines = FewLines()

    def expect(self, device: DeviceId) -> None:
        """A command has been sent."""
        self.unanswered[device] += 1

    def expect_no_more(self, device: DeviceId) -> None:
        """A command that was sent has come to its end."""
        _count_down(self.unanswered, device)

    def receive(self, message: Message) -> None:
        """Look whether a message answers a command; one that needs no codec is handed on before this returns."""
        topic = parse_answer_topic(message.topic)
        if topic is None:
            return
        device = topic.owner
        assert isinstance(device, DeviceId)  # the topics of integration channels are of another family
        if message.publisher is not None and not may_publish(message.publisher, message.topic, self._directory()):
            self._ignore("foreign", message.topic)
        elif device not in self.unanswered:
            self._ignore("late", message.topic)
        elif is_raw(topic):
            self._receive_raw(device, message)
        else:
            self._hand_on(device, message, parse_answer(message.payload, self._limit, message.size))

    async def close(self) -> None:
        """Decode no further."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _hand_on(self, device: DeviceId, message: Message, answer: Answer) -> None:
        reason = self._take(device, message.topic, answer)
        if reason is not None:
            self._ignore(reason, message.topic)

    def _receive_raw(self, device: DeviceId, message: Message) -> None:
        is_whole = message.size is None or message.size == len(message.payload)
        if self._decode is None or not is_whole or len(message.payload) > self._limit:
            self._ignore("unreadable", message.topic)
        elif self._decoding[device] >= self.unanswered[device] + _DECODING:
            self._ignore("busy", message.topic)
        else:
            self._decoding[device] += 1
            task = self._loop.create_task(self._decode_raw(self._decode, device, message), name="decode an answer")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _decode_raw(self, decode: Decode, device: DeviceId, message: Message) -> None:
        try:
            document = await decode(device, message.payload)
        except EnosIngestError as error:
            self._ignore("unreadable", message.topic, str(error))
        except Exception:  # a fault of ours; its task has nobody who would see it
            log.exception("an answer could not be decoded", topic=message.topic, bytes=len(message.payload))
            self._ignore("unreadable", message.topic)
        else:
            self._hand_on(device, message, read_answer(document))
        finally:
            _count_down(self._decoding, device)

    def _ignore(self, reason: IgnoredReason, topic: str, detail: str = "") -> None:
        """Count an answer that has no effect, and say so as long as there are not too many."""
        self._counters.answer_ignored(reason)
        unsaid = self._lines.next()
        if unsaid is not None:
            extra = {"detail": detail} if detail else {}
            more = {"more": unsaid} if unsaid else {}
            log.info("answer ignored", reason=reason, topic=topic, **extra, **more)


def _count_down(counter: Counter[DeviceId], device: DeviceId) -> None:
    counter[device] -= 1
    if not counter[device]:
        del counter[device]
