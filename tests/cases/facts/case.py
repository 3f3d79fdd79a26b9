"""What a case is, and how an answer is compared with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import orjson

from enos_ingest.outcome import Rejection
from tests.cases.case import Beginning, T
from tests.cases.world import CHANNEL, DIRECT, GATEWAYS

__all__ = ["ABSENT", "Answer", "FactCase", "Facts", "Told", "Topic", "check"]

ABSENT = object()
"""Stands for a field that is left out."""

_GOOD = object()
"""Stands for the params that a topic takes."""


class Told(NamedTuple):
    """An event that must be found; `time` None is the time of receipt."""

    device: str
    event: str
    fields: Mapping[str, Any]
    time: int | None = T
    origin: str = "post"


Values: TypeAlias = Mapping[str, Mapping[str, Any]]
"""By device, then by name."""


class Facts(NamedTuple):
    """All that is stored; devices without a value are left out."""

    attributes: Values
    tags: Values
    events: list[Told]


@dataclass(frozen=True)
class FactCase:
    """A request and all that must come of it; `variant` tells apart the values with which one rule is tried.

    Args:
        topic, request: what is sent; bytes as they are, anything else as JSON.
        code, message, data, reply_id: what is answered.
        before: topics and requests that are sent first and answered 200.
        attributes, tags, events: what is stored in the end, and nothing else.
        sender: `PRODUCT/DEVICE`, or `PRODUCT/%channel%`.
        online: (gateway, sub-device) logins in force.
        by_sender: whether the verdict needs to know who sent the request, and not only on which topic.
        kept: whether a refusal is kept in quarantine, as all are that the store has no part in.
    """

    name: str
    topic: str
    request: Any
    code: int
    message: str = ""
    data: Any = field(default_factory=dict)
    reply_id: str = "7"
    before: tuple[tuple[str, Any], ...] = ()
    attributes: Values = field(default_factory=dict)
    tags: Values = field(default_factory=dict)
    events: tuple[Told, ...] = ()
    sender: str = DIRECT
    online: frozenset[tuple[str, str]] = frozenset()
    by_sender: bool = False
    kept: bool = True
    variant: str = ""

    def __str__(self) -> str:
        return f"{self.name} [{self.variant}]" if self.variant else self.name

    @property
    def payload(self) -> bytes:
        """The bytes on the wire."""
        return encoded(self.request)


def encoded(request: Any) -> bytes:
    """The bytes of a request on the wire."""
    return request if isinstance(request, bytes) else orjson.dumps(request)


class Topic(NamedTuple):
    """One of the topics, with params that it takes.

    `action` follows the keys of the device, or the product's; `method` is ABSENT where it is not looked at.
    """

    name: str
    action: str
    method: Any
    good: Any
    needs_model: bool = True

    @property
    def is_integration(self) -> bool:
        """Whether it is one of the channel's."""
        return self.action.startswith("integration/")

    @property
    def sender(self) -> str:
        """Who sends a request unless a case says otherwise."""
        return CHANNEL if self.is_integration else DIRECT

    def of(self, owner: str) -> str:
        """The topic of a device, or of the product of a channel."""
        return f"/sys/{owner.partition('/')[0] if self.is_integration else owner}/{self.action}"

    def request(self, params: Any = _GOOD, **fields: Any) -> dict[str, Any]:
        """A request with the id "7", which is accepted unless `params` or `fields` say otherwise."""
        params = self.good if params is _GOOD else params
        document = {"id": "7", "version": "1.0", "method": self.method, "params": params, **fields}
        return {key: value for key, value in document.items() if value is not ABSENT}

    def case(self, name: str, params: Any = _GOOD, code: int = 200, message: str = "", **more: Any) -> FactCase:
        """A case on this topic, sent by the one whose topic it is; `request` replaces it as a whole."""
        request = more.pop("request", None)
        if request is None:
            request = self.request(params)
        topic = more.pop("topic", self.of(GATEWAYS if self.is_integration else DIRECT))
        sender = more.pop("sender", self.sender)
        return FactCase(f"{self.name}: {name}", topic, request, code, message, sender=sender, **more)


class Answer(NamedTuple):
    """What came of a case; `received` is when the request came in, earliest and latest."""

    reply_topic: str
    reply: bytes
    facts: Facts
    quarantined: list[Rejection]
    received: tuple[int, int]


def check(case: FactCase, answer: Answer, publisher: str) -> None:
    """Compare everything; `publisher` is who counts as the sender in quarantine."""
    assert answer.reply_topic == f"{case.topic}_reply"
    reply = orjson.loads(answer.reply)
    message = reply.pop("message", "")
    assert reply == {"id": case.reply_id, "code": case.code, "data": case.data}
    assert (message[: len(case.message)] if isinstance(case.message, Beginning) else message) == case.message
    assert _as_json(answer.facts.attributes) == _as_json(case.attributes)
    assert answer.facts.tags == case.tags
    first, last = answer.received
    told = [each._replace(time=None) if each.time in range(first, last + 1) else each for each in answer.facts.events]
    found = [_as_json(each) for each in told]
    assert sorted(found) == sorted(map(_as_json, case.events))
    quarantined = [(row.topic, row.publisher, row.code, row.reason, row.size) for row in answer.quarantined]
    refused = case.code != 200 and case.kept
    assert quarantined == ([(case.topic, publisher, case.code, message, len(case.payload))] if refused else [])


def _as_json(value: Any) -> bytes:
    """A text to compare: to Python 1, 1.0 and True are the same, to those who read facts they are not."""
    return orjson.dumps(list(value) if isinstance(value, tuple) else value, option=orjson.OPT_SORT_KEYS)
