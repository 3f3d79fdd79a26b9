"""What a case is, and how an answer is compared with it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import orjson

from enos_ingest.outcome import Point, Rejection

__all__ = ["Answer", "Beginning", "Case", "Stored", "T", "check"]

T = 1_700_000_000_000
"""The time of the points of every case, until `Case.moved` gives each case a second of its own."""

_SECOND = range(T, T + 1000)


class Beginning(str):
    """A message of which only the beginning is ours: the rest is worded by the JSON parser."""

    __slots__ = ()


class Stored(NamedTuple):
    """A point that must be found; `time` None is the time of receipt."""

    device: str
    measurepoint: str
    value: Any
    time: int | None = T
    quality: int | None = None
    origin: str = "resume"


@dataclass(frozen=True)
class Case:
    """A request and all that must come of it.

    `variant` tells apart the values with which one rule is tried: they count as one case.

    Args:
        topic, request: what is sent; bytes as they are, anything else as JSON.
        code, message, reply_id: what is answered.
        stored: what is stored, and nothing else.
        skipped: for code 200, the reason in quarantine, "" where nothing is kept there.
        sender: `PRODUCT/DEVICE`, or `PRODUCT/%channel%`.
        online: (gateway, sub-device) logins in force.
        connected: devices that hold a connection beside the sender.
        by_sender: whether the verdict needs to know who sent the request, and not only on which topic.
    """

    name: str
    topic: str
    request: Any
    code: int
    message: str = ""
    reply_id: str = "7"
    stored: tuple[Stored, ...] = ()
    skipped: str = ""
    sender: str = ""
    online: frozenset[tuple[str, str]] = frozenset()
    connected: frozenset[str] = frozenset()
    by_sender: bool = False
    variant: str = ""

    def __str__(self) -> str:
        return f"{self.name} [{self.variant}]" if self.variant else self.name

    @property
    def payload(self) -> bytes:
        """The bytes on the wire."""
        return self.request if isinstance(self.request, bytes) else orjson.dumps(self.request)

    def moved(self, seconds: int) -> Case:
        """The case with its points so much later, so that no two cases speak of the same point at the same time."""
        stored = tuple(point._replace(time=_later(point.time, seconds)) for point in self.stored)
        return replace(self, request=_moved(self.request, seconds), stored=stored)


class Answer(NamedTuple):
    """What came of a case.

    `stored` are the points that are new or changed; `received` is when the request came in, earliest and latest.
    """

    reply_topic: str
    reply: bytes
    stored: list[Point]
    quarantined: list[Rejection]
    received: tuple[int, int]


def check(case: Case, answer: Answer, publisher: str) -> None:
    """Compare everything; `publisher` is who counts as the sender in quarantine."""
    assert answer.reply_topic == f"{case.topic}_reply"
    reply = orjson.loads(answer.reply)
    message = reply.pop("message", "")
    assert reply == {"id": case.reply_id, "code": case.code, "data": {}}
    assert _as_worded(case.message, message) == case.message
    first, last = answer.received
    expected = sorted(_as_json(_point(stored, stored.time)) for stored in case.stored)
    found = sorted(
        _as_json(point if point.time not in range(first, last + 1) else point._replace(time=-1))
        for point in answer.stored
    )
    assert found == expected
    quarantined = [(row.topic, row.publisher, row.code, row.reason, row.size) for row in answer.quarantined]
    reason = case.skipped if case.code == 200 else message
    assert quarantined == ([(case.topic, publisher, case.code, reason, len(case.payload))] if reason else [])
    for row in answer.quarantined:
        # Of a payload over the limit, which a device's session skips, only the beginning is kept.
        assert row.payload == case.payload[: len(row.payload)]
        assert len(row.payload) == row.size or "over the limit" in message


def _as_worded(expected: str, message: str) -> str:
    return message[: len(expected)] if isinstance(expected, Beginning) else message


def _point(stored: Stored, time: int | None) -> Point:
    product_key, _, device_key = stored.device.partition("/")
    time = -1 if time is None else time
    return Point(product_key, device_key, stored.measurepoint, time, stored.value, stored.quality, stored.origin)


def _as_json(point: Point) -> bytes:
    """A text to compare: to Python 1, 1.0 and True are the same, to those who read points they are not."""
    return orjson.dumps(list(point), option=orjson.OPT_SORT_KEYS)


def _later(time: Any, seconds: int) -> Any:
    return time + seconds * 1000 if isinstance(time, int | float) and int(time) in _SECOND else time


def _moved(value: Any, seconds: int) -> Any:
    if isinstance(value, dict):
        return {
            key: _later(member, seconds) if key == "time" else _moved(member, seconds) for key, member in value.items()
        }
    if isinstance(value, list):
        return [_moved(item, seconds) for item in value]
    return value
