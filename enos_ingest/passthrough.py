"""Uplinks in products' own formats: decoded, judged as the JSON that they stand for, answered in the same format.

For each message: its product's codec decodes it, the pipeline judges the request on the topic that its `method` names,
in the name of the same publisher; the record is committed, the codec encodes the reply, then it is answered. What
cannot be decoded is refused: quarantine has the bytes with the reason, whatever the codec can make of the reply.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import orjson

from enos_ingest.devices.access import may_publish
from enos_ingest.devices.directory import Directory, Product
from enos_ingest.errors import CodecError
from enos_ingest.intake import Answer, Intake
from enos_ingest.logs import FewLines, get_logger
from enos_ingest.outcome import Outcome
from enos_ingest.pipeline import Message, refuse
from enos_ingest.protocol.codes import Code
from enos_ingest.protocol.messages import request_id, scan_id
from enos_ingest.protocol.raw import is_raw_uplink, request_topic
from enos_ingest.protocol.topics import Topic, parse_topic
from enos_ingest.uplinks.route import Refusal

__all__ = ["Passthrough", "Translator"]

log = get_logger(__name__)

_OPERATION = "model/up_raw"
"""What metrics call a message that became no request; of others they name the request."""

_AT_ONCE = 64
"""Messages of one codec that are on their way at once: enough for a commit of many, and so few that a command finds
at most as many calls before its own."""


class Translator(Protocol):
    """What is asked of codecs; each call may raise CodecError."""

    async def encode(
        self, product: Product, message: dict[str, Any], *, patient: bool = False, secret: bool = False
    ) -> bytes: ...

    async def decode(self, product: Product, data: bytes, *, patient: bool = False) -> dict[str, Any]: ...


@dataclass(slots=True)
class _Line:
    """The messages of one codec that are not answered yet; `turns` are for those that are on their way."""

    messages: int = 0
    bytes: int = 0
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))


class _NoRequest(Refusal):
    """A refusal of a message that has been decoded far enough to have an id."""

    def __init__(self, code: Code, reason: str, identifier: str = "") -> None:
        super().__init__(code, reason)
        self.identifier = identifier


class Passthrough:
    """Carries messages through codecs and the intake, each on its own; what is not answered at a stop is sent again.

    Args:
        message_bytes: the longest payload that is decoded.
        in_flight, in_flight_bytes: how many messages, and bytes of payload, may wait for one codec: they are in memory,
            and what comes on their connections behind them waits for their answers.
    """

    def __init__(
        self,
        intake: Intake,
        directory: Callable[[], Directory],
        codecs: Translator,
        *,
        message_bytes: int,
        in_flight: int,
        in_flight_bytes: int,
    ) -> None:
        self._intake = intake
        self._directory = directory
        self._codecs = codecs
        self._message_bytes = message_bytes
        self._most_messages = in_flight
        self._most_bytes = in_flight_bytes
        self._lines: dict[str, _Line] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._said = FewLines()
        self._closed = False

    @property
    def in_flight(self) -> int:
        """How many messages have been taken and not answered."""
        return len(self._tasks)

    def is_full(self, name: str) -> bool:
        """Whether too many messages wait for the codec that those on this topic need."""
        topic = parse_topic(name)
        product = None if topic is None else self._directory().products.get(topic.owner.product_key)
        line = None if product is None else self._lines.get(product.codec)
        return line is not None and (line.messages >= self._most_messages or line.bytes >= self._most_bytes)

    def take(self, message: Message, answer: Answer) -> bool:
        """Take a message that is in its product's format, and answer it once it may be; False for any other."""
        topic = parse_topic(message.topic)
        if topic is None or not is_raw_uplink(topic):
            return False
        if self._closed:
            answer(None)
            return True
        directory = self._directory()
        product = directory.products.get(topic.owner.product_key)
        allowed = message.publisher is None or may_publish(message.publisher, message.topic, directory)
        if not allowed:
            self._turn_away(topic, message, Refusal(Code.NO_WRITE_PERMISSION, "not a topic of its publisher"), answer)
        elif product is None or not product.codec:
            reason = f"product {topic.owner.product_key} has no codec"
            self._refuse(topic, message, Refusal(Code.NO_WRITE_PERMISSION, reason), answer)
        elif self.is_full(message.topic):
            reason = f"too many messages wait for codec {product.codec}"
            self._turn_away(topic, message, Refusal(Code.TOO_MANY_REQUESTS, reason), answer)
        else:
            line = self._lines.setdefault(product.codec, _Line())
            line.messages += 1
            line.bytes += len(message.payload)
            carry = self._carry(topic, product, message, answer, line)
            task = asyncio.get_running_loop().create_task(carry, name="up_raw")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return True

    async def close(self) -> None:
        """Carry no further; what was not committed is not answered, nor what comes later."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _turn_away(self, topic: Topic, message: Message, refusal: Refusal, answer: Answer) -> None:
        """Keep a message that no codec is to see in quarantine, and acknowledge it: there is no reply it could read."""
        outcome = refuse(_OPERATION, topic, message.publisher or topic.owner, message, "", refusal)
        outcome.reply = b""
        self._intake.commit(message, outcome, answer, time.perf_counter())

    def _refuse(self, topic: Topic, message: Message, refusal: Refusal, answer: Answer) -> None:
        """Refuse a message of a product that speaks JSON, in JSON: the SDK for Node.js would wait for ever."""
        is_whole = message.size is None or message.size == len(message.payload)
        found = scan_id(message.payload, is_whole=is_whole)
        outcome = refuse(_OPERATION, topic, message.publisher or topic.owner, message, found, refusal)
        self._intake.commit(message, outcome, answer, time.perf_counter())

    async def _carry(self, topic: Topic, product: Product, message: Message, answer: Answer, line: _Line) -> None:
        try:
            async with line.turns:
                outcome = await self._judge(topic, product, message)
                if outcome is not None:
                    outcome = await self._encode(topic, product, outcome)
        except Exception:  # a bug that one message finds must not leave its connection waiting
            log.exception("a message could not be carried", topic=message.topic, bytes=len(message.payload))
            outcome = None
        finally:
            line.messages -= 1
            line.bytes -= len(message.payload)
            if not line.messages:
                del self._lines[product.codec]
        answer(outcome)

    async def _judge(self, topic: Topic, product: Product, message: Message) -> Outcome | None:
        """The verdict on a message, once it is committed."""
        committed: asyncio.Future[Outcome | None] = asyncio.get_running_loop().create_future()
        answer = functools.partial(_hand_over, committed)
        try:
            request = await self._decode(topic, product, message)
        except _NoRequest as refusal:
            publisher = message.publisher or topic.owner
            outcome = refuse(_OPERATION, topic, publisher, message, refusal.identifier, refusal)
            self._intake.commit(message, outcome, answer, time.perf_counter())
        else:
            self._intake.submit(request, answer)
        return await committed

    async def _decode(self, topic: Topic, product: Product, message: Message) -> Message:
        """The request that a message stands for; raises _NoRequest."""
        size = len(message.payload) if message.size is None else message.size
        if not size:
            raise _NoRequest(Code.PAYLOAD_EMPTY, "payload is empty")
        if size > self._message_bytes:
            reason = f"payload of {size} bytes is over the limit of {self._message_bytes}"
            raise _NoRequest(Code.PAYLOAD_FORMAT_ERROR, reason)
        if message.unreadable is not None:
            raise _NoRequest(Code.PAYLOAD_FORMAT_ERROR, str(message.unreadable))
        try:
            document = await self._codecs.decode(product, message.payload, patient=True)
        except CodecError as error:
            raise _NoRequest(Code.PAYLOAD_FORMAT_ERROR, f"cannot be decoded: {error}") from None
        method = document.get("method")
        if not isinstance(method, str):
            raise _NoRequest(Code.PAYLOAD_FORMAT_ERROR, "decoded, it is no request: no method", request_id(document))
        name = request_topic(topic, method)
        if name is None:
            reason = f"decoded, it is no request: method {method[:100]}"
            raise _NoRequest(Code.METHODS_NOT_CONSISTENT, reason, request_id(document))
        return Message(name, orjson.dumps(document), message.received, message.publisher, source=message)

    async def _encode(self, topic: Topic, product: Product, outcome: Outcome) -> Outcome:
        """The same outcome with its reply in the product's format, or with none where that cannot hold it."""
        reply: dict[str, Any] = {**orjson.loads(outcome.reply)}
        reply.setdefault("message", "")
        try:
            data = await self._codecs.encode(product, reply, patient=True, secret=outcome.holds_secret)
        except CodecError as error:
            data = b""
            unsaid = self._said.next()
            if unsaid is not None:
                more = {"more": unsaid} if unsaid else {}
                log.info(
                    "a reply cannot be encoded and is not sent", topic=topic.reply_topic, reason=str(error), **more
                )
        return replace(outcome, reply_topic=topic.reply_topic, reply=data)


def _hand_over(committed: asyncio.Future[Outcome | None], outcome: Outcome | None) -> None:
    """The outcome for who waits for it, unless a stop of the hub has ended that."""
    if not committed.done():
        committed.set_result(outcome)
