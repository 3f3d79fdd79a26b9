"""The way of a message: route, decode, envelope, then the route's own checks, then the answer.

Knows nothing of MQTT or databases: a topic, a payload and a publisher go in, an outcome comes out, which carries
the reply and what to store.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from enos_ingest.devices.directory import Directory
from enos_ingest.devices.presence import Presence
from enos_ingest.errors import PayloadError, SchemaError
from enos_ingest.outcome import Outcome, Record, Rejection
from enos_ingest.protocol.codes import Code
from enos_ingest.protocol.identity import Publisher
from enos_ingest.protocol.messages import decode_request, encode_reply, request_id, scan_id
from enos_ingest.protocol.topics import Topic, is_reply, is_to_device, parse_topic, reply_topic
from enos_ingest.uplinks import ROUTES
from enos_ingest.uplinks.route import Accepted, ModelSource, Refusal, Request, Route, World

__all__ = ["Message", "Pipeline"]

_REASON_CHARACTERS = 300
"""A reason may quote names that a device made up, of any length; a reply says it in a few words."""


@dataclass(frozen=True, slots=True)
class Message:
    """What came in: `received` is epoch milliseconds.

    `publisher` is who sent it, None where only the topic is known: then the topic's own device or channel counts.
    """

    topic: str
    payload: bytes
    received: int
    publisher: Publisher | None = None


class Pipeline:
    """Judges messages, one at a time.

    Args:
        directory: gives the registry as it is now.
        models: thing models by modelId.
        presence: who is online; logins change it.
        message_bytes: the longest payload that is looked at.
        max_future_seconds: how far ahead of the receive time a point may lie, 0 for no bound.
        sub_devices_per_gateway: how many may be online through one gateway.
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
    ) -> None:
        self._directory = directory
        self._models = models
        self._presence = presence
        self._message_bytes = message_bytes
        self._max_future_seconds = max_future_seconds
        self._sub_devices_per_gateway = sub_devices_per_gateway

    def process(self, message: Message) -> Outcome | None:
        """The verdict on a message; None for one that is no request, which nobody answers."""
        topic = parse_topic(message.topic)
        if topic is None or is_reply(message.topic) or is_to_device(topic):
            return None
        publisher = topic.owner if message.publisher is None else message.publisher
        route = ROUTES.get((topic.family, topic.action))
        if route is None:
            refusal = Refusal(Code.NO_WRITE_PERMISSION, f"no such topic for devices: {topic.action[:100]}")
            return _refuse("unknown", topic, publisher, message, scan_id(message.payload), refusal)
        try:
            document = decode_request(message.payload, self._message_bytes)
        except PayloadError as error:
            code = route.codes.unreadable if message.payload else route.codes.empty
            return _refuse(route.name, topic, publisher, message, error.request_id, Refusal(code, str(error)))
        identifier = request_id(document, message.payload)
        try:
            _check_envelope(route, document)
            accepted = route.handle(Request(topic, publisher, document, message.received), self._world())
        except Refusal as refusal:
            return _refuse(route.name, topic, publisher, message, identifier, refusal)
        return _accept(route.name, topic, publisher, message, identifier, accepted)

    def _world(self) -> World:
        return World(
            self._directory(), self._models, self._presence, self._max_future_seconds, self._sub_devices_per_gateway
        )


def _check_envelope(route: Route, document: dict[str, object]) -> None:
    if route.schema.is_valid(document):
        return
    try:
        route.schema.check(document)
    except SchemaError as fault:
        code = route.codes.method if fault.path == ("method",) else route.codes.shape
        raise Refusal(code, str(fault)) from None


def _accept(
    operation: str, topic: Topic, publisher: Publisher, message: Message, identifier: str, accepted: Accepted
) -> Outcome:
    text, rejection = "", None
    if accepted.skipped:
        text = f"{accepted.skipped} invalid measurement point{'s' if accepted.skipped > 1 else ''} skipped"
        named = "; ".join(_cut(text) for text in accepted.reasons)
        unnamed = accepted.skipped - len(accepted.reasons)
        more = f"; and {unnamed} more" if unnamed else ""
        reason = f"skipped: {named}{more}"
        rejection = Rejection(message.received, message.topic, str(publisher), Code.SUCCESS, reason, message.payload)
    reply = encode_reply(identifier, Code.SUCCESS, text, accepted.data)
    record = None
    if accepted.points or rejection or accepted.activated:
        record = Record(accepted.points, rejection, accepted.activated, message.received)
    return Outcome(operation, Code.SUCCESS, text, reply_topic(topic.name), reply, record, accepted.skipped)


def _refuse(
    operation: str, topic: Topic, publisher: Publisher, message: Message, identifier: str, refusal: Refusal
) -> Outcome:
    reason = _cut(refusal.reason)
    rejection = Rejection(message.received, message.topic, str(publisher), refusal.code, reason, message.payload)
    reply = encode_reply(identifier, refusal.code, reason)
    return Outcome(operation, refusal.code, reason, reply_topic(topic.name), reply, Record([], rejection))


def _cut(reason: str) -> str:
    return reason if len(reason) <= _REASON_CHARACTERS else f"{reason[: _REASON_CHARACTERS - 3]}..."
