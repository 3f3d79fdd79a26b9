"""The way of a message: route, decode, envelope, then the route's own checks, then the answer.

Knows nothing of MQTT or databases: a topic, a payload and a publisher go in, an outcome comes out, which carries
the reply and what to store.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from enos_ingest.devices.changes import Change
from enos_ingest.devices.directory import Directory
from enos_ingest.devices.presence import Presence
from enos_ingest.errors import PayloadError
from enos_ingest.outcome import Outcome, Record, Rejection
from enos_ingest.protocol.codes import Code
from enos_ingest.protocol.identity import Publisher
from enos_ingest.protocol.messages import decode_request, encode_reply, request_id, scan_id
from enos_ingest.protocol.topics import Topic, parse_topic
from enos_ingest.uplinks import find_route
from enos_ingest.uplinks.route import Accepted, ModelSource, Refusal, Request, Route, World
from enos_ingest.uplinks.unserved import unserved

__all__ = ["Message", "Pipeline", "refuse"]

_SUCCESS = Code.SUCCESS  # named once: to look a member of an enumeration up takes as long as to make an object

_REASON_CHARACTERS = 300
"""A reason may quote names that a device made up, of any length; a reply says it in a few words."""


@dataclass(slots=True)
class Message:
    """What came in: `received` is epoch milliseconds.

    `publisher` is who sent it, None where only the topic is known: then the topic's own device or channel counts.
    `size` is the payload's length in bytes where `payload` is only the beginning of one that was over the limit.
    `unreadable` says why what came could not be decompressed, where it could not: then `payload` is that.
    `source` is the message in the product's own format that this one was decoded from: it is what quarantine keeps.
    """

    topic: str
    payload: bytes
    received: int
    publisher: Publisher | None = None
    size: int | None = None
    unreadable: PayloadError | None = None
    source: Message | None = None


class Pipeline:
    """Judges messages, one at a time.

    Args:
        directory: gives the registry as it is now.
        models: thing models by modelId.
        presence: who is online; logins change it.
        message_bytes: the longest payload that is looked at.
        max_future_seconds: how far ahead of the receive time a point may lie, 0 for no bound.
        sub_devices_per_gateway: how many may be online through one gateway.
        change_registry: makes changes of the registry hold, before the next message.
    """

    def __init__(
        self,
        directory: Callable[[], Directory],
        models: ModelSource,
        presence: Presence,
        *,
        message_bytes: int = 524288,
        max_future_seconds: float = 0,
        sub_devices_per_gateway: int = 200,
        change_registry: Callable[[Sequence[Change]], None] | None = None,
    ) -> None:
        self._directory = directory
        self._models = models
        self._presence = presence
        self._message_bytes = message_bytes
        self._max_future_seconds = max_future_seconds
        self._sub_devices_per_gateway = sub_devices_per_gateway
        self._change_registry = change_registry
        self._world: World | None = None

    def process(self, message: Message) -> Outcome | None:
        """The verdict on a message; None for one that is no request, which nobody answers."""
        topic = parse_topic(message.topic)
        if topic is None or not topic.is_request:
            return None
        publisher = topic.owner if message.publisher is None else message.publisher
        route = find_route(topic)
        if route is None:
            found = scan_id(message.payload, is_whole=_size(message) == len(message.payload))
            return refuse("unknown", topic, publisher, message, found, unserved(topic))
        try:
            if message.unreadable is not None:
                raise message.unreadable
            document = decode_request(message.payload, self._message_bytes, message.size)
        except PayloadError as error:
            code = route.codes.unreadable if message.payload else route.codes.empty
            refusal = Refusal(code, str(error))
            return refuse(route.name, topic, publisher, message, error.request_id, refusal, route.refused)
        identifier = request_id(document, message.payload)
        try:
            if not route.schema.is_valid(document):
                raise _envelope_fault(route, document)
            request = Request(topic, publisher, document, message.received, message.publisher is not None)
            accepted = route.handle(request, self._world_now())
        except Refusal as refusal:
            data = route.refused if refusal.data is None else refusal.data
            return refuse(route.name, topic, publisher, message, identifier, refusal, data)
        if accepted.changes and self._change_registry is not None:
            self._change_registry(accepted.changes)
        return _accept(route.name, topic, publisher, message, identifier, accepted)

    def _world_now(self) -> World:
        directory = self._directory()
        if self._world is None or self._world.directory is not directory:
            bounds = self._max_future_seconds, self._sub_devices_per_gateway
            self._world = World(directory, self._models, self._presence, *bounds)
        return self._world


def _envelope_fault(route: Route, document: dict[str, object]) -> Refusal:
    fault = route.schema.fault(document)
    assert fault is not None  # or it would be valid
    return Refusal(route.codes.method if fault.path == ("method",) else route.codes.shape, str(fault))


def _accept(
    operation: str, topic: Topic, publisher: Publisher, message: Message, identifier: str, accepted: Accepted
) -> Outcome:
    code, text, rejection = accepted.code, accepted.message, None
    if accepted.skipped:
        text = f"{accepted.skipped} invalid measurement point{'s' if accepted.skipped > 1 else ''} skipped"
        named = "; ".join(_cut(text) for text in accepted.reasons)
        unnamed = accepted.skipped - len(accepted.reasons)
        more = f"; and {unnamed} more" if unnamed else ""
        rejection = _reject(message, publisher, _SUCCESS, f"skipped: {named}{more}")
    elif code is not _SUCCESS:
        text = _cut(text)
        rejection = _reject(message, publisher, code, text)
    reply = encode_reply(identifier, code, text, accepted.data)
    record = None
    wanted = accepted.wanted
    if accepted.points or rejection or accepted.activated or accepted.changes or wanted:
        changes = accepted.changes
        record = Record(accepted.points, rejection, accepted.activated, message.received, None, changes, wanted)
    outcome = Outcome(operation, code, text, topic.reply_topic, reply, record, accepted.skipped)
    if wanted is not None:
        outcome.finish = partial(_finish, outcome, identifier, accepted)
    return outcome


def _finish(outcome: Outcome, identifier: str, accepted: Accepted) -> bytes:
    """The reply to a message that the store had to be asked about."""
    assert accepted.wanted is not None  # or it would be answered already
    if accepted.settle is None:
        return encode_reply(identifier, outcome.code, outcome.reason, accepted.wanted.result)
    refusal = accepted.settle(accepted.wanted.result)
    if refusal is None:
        return outcome.reply
    outcome.code, outcome.reason = refusal.code, _cut(refusal.reason)
    return encode_reply(identifier, outcome.code, outcome.reason)


def refuse(
    operation: str,
    topic: Topic,
    publisher: Publisher,
    message: Message,
    identifier: str,
    refusal: Refusal,
    data: Any = None,
) -> Outcome:
    """The verdict on a message that is declined: its reply, and an entry in quarantine."""
    reason = _cut(refusal.reason)
    rejection = _reject(message, publisher, refusal.code, reason)
    reply = encode_reply(identifier, refusal.code, reason, data)
    return Outcome(operation, refusal.code, reason, topic.reply_topic, reply, Record([], rejection))


def _reject(message: Message, publisher: Publisher, code: Code, reason: str) -> Rejection:
    kept = message.source or message
    return Rejection(message.received, kept.topic, str(publisher), code, reason, kept.payload, _size(kept))


def _size(message: Message) -> int:
    return len(message.payload) if message.size is None else message.size


def _cut(reason: str) -> str:
    return reason if len(reason) <= _REASON_CHARACTERS else f"{reason[: _REASON_CHARACTERS - 3]}..."
