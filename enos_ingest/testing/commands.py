"""Commands as a device in a test gets them, and its answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import orjson

from enos_ingest.protocol.topics import is_reply, parse_topic

__all__ = ["CommandHandler", "ReceivedCommand", "answer_to", "read_command"]


class ReceivedCommand(NamedTuple):
    """A message from the hub that wants an answer.

    Attributes:
        topic: of the device that it is for: a gateway gets those of its sub-devices.
        payload: the bytes; all there is of a command in a product's own format.
        id, method, params: what they hold as JSON, else "", "" and None.
    """

    topic: str
    payload: bytes
    id: str
    method: str
    params: Any


CommandHandler: TypeAlias = Callable[[ReceivedCommand], dict[str, Any] | int | bytes | None]
"""What a device does with a command; it returns its answer: None for done, a dict for what a service returns, a number
for a code of its own, bytes for an answer in the product's own format."""


def read_command(topic: str, payload: bytes) -> ReceivedCommand | None:
    """The command that a message is; None for one that is something else, such as a reply."""
    parsed = parse_topic(topic)
    if parsed is None or not parsed.is_to_device or is_reply(topic):
        return None
    try:
        document = orjson.loads(payload)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        return ReceivedCommand(topic, payload, "", "", None)
    return ReceivedCommand(
        topic, payload, str(document.get("id", "")), str(document.get("method", "")), document.get("params")
    )


def answer_to(command: ReceivedCommand, answer: dict[str, Any] | int | bytes | None, message: str = "") -> bytes:
    """The payload of an answer, as devices write it."""
    if isinstance(answer, bytes):
        return answer
    code, data = (answer, {}) if isinstance(answer, int) else (200, answer or {})
    document = {"id": command.id, "code": code, "data": data}
    return orjson.dumps({**document, "message": message} if message else document)
