"""What holds for every topic: payload and envelope, 1251, 1220 and 1260; who may speak, 1009, 1212 and 1257."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from tests.cases.case import Beginning
from tests.cases.facts.case import ABSENT, FactCase, Told, Topic
from tests.cases.facts.topics import ALARM, DEVICE_TOPICS, INT_ATTRIBUTES, INT_EVENTS, TAG_UPDATE, TOPICS, UPDATE
from tests.cases.world import (
    BARE,
    BARE_SUB,
    CHANNEL,
    DIRECT,
    FREE,
    GATEWAY,
    GATEWAYS,
    METERS,
    NEIGHBOUR,
    SHARED,
    SOLO,
    SUB_1,
    identity,
)

__all__ = ["cases"]

_LIMIT = 524288
_NO_JSON = Beginning("payload is not JSON: ")
_CHANNELS = (INT_ATTRIBUTES, INT_EVENTS)
_NO_KEYS: tuple[tuple[Any, str], ...] = (
    (ABSENT, "missing"),
    (None, "expected a string"),
    ("", "at least 1 character"),
    (7, "expected a string"),
)


def cases() -> Iterator[FactCase]:
    """Every case of this theme."""
    for topic in TOPICS:
        yield from _payload(topic)
        yield from _envelope(topic)
    for topic in DEVICE_TOPICS:
        yield from _speakers(topic)
    for topic in _CHANNELS:
        yield from _channel(topic)


def stored(topic: Topic, device: str = DIRECT) -> dict[str, Any]:
    """What is stored once the good request of a topic was accepted."""
    origin = "integration" if topic.is_integration else "post"
    if topic in (UPDATE, INT_ATTRIBUTES) or topic.action == "integration/attributes/post":
        return {"attributes": {device: {"site": "x"}}}
    if topic == TAG_UPDATE:
        return {"tags": {device: {"k": "v"}}}
    if topic in (ALARM, INT_EVENTS):
        return {"events": (Told(device, "alarm", {"level": 3}, origin=origin),)}
    return {}


def _payload(topic: Topic) -> Iterator[FactCase]:
    good = orjson.dumps(topic.request())
    yield topic.case("payload empty", code=1251, message="payload is empty", request=b"", reply_id="")
    over = f"payload of {_LIMIT + 1} bytes is over the limit of {_LIMIT}"
    yield topic.case("payload over the limit", code=1220, message=over, request=good.ljust(_LIMIT + 1))
    yield topic.case("payload truncated", code=1220, message=_NO_JSON, request=good[:-1])
    yield topic.case("payload not UTF-8", code=1220, message=_NO_JSON, request=good.replace(b"1.0", b"1.\xff"))
    yield topic.case(
        "payload no object", code=1220, message="payload is not a JSON object", request=b"[" + good + b"]", reply_id=""
    )


def _envelope(topic: Topic) -> Iterator[FactCase]:
    good = stored(topic)
    yield topic.case("accepted", **good)
    yield topic.case("topic without a slash", topic=topic.case("").topic[1:], **good)
    yield topic.case("id a number", request=topic.request(id=7), **good)
    yield topic.case("no id", request=topic.request(id=ABSENT), reply_id="", **good)
    what = "id: expected a string or an integer"
    yield topic.case("id of another kind", code=1220, message=what, request=topic.request(id=[7]), reply_id="")
    for version in ("1.1", "", None, ABSENT):
        request = topic.request(version=version)
        yield topic.case("any version, or none", request=request, variant=f"{version!r:.6}", **good)
    what = "version: expected a string"
    yield topic.case("version no string", code=1220, message=what, request=topic.request(version=1))
    yield topic.case("params missing", ABSENT, 1220, "params: missing")
    for method in ("thing.measurepoint.post", "", None, ABSENT, "thing.event.%s.postalarm"):
        request = topic.request(method=method)
        variant = f"{method!r:.25}"
        if topic.method is ABSENT:
            yield topic.case("method of any kind", request=request, variant=variant, **good)
        else:
            what = "method: missing" if method is ABSENT else f'method: expected "{topic.method}"'
            yield topic.case("method of another kind", code=1260, message=what, request=request, variant=variant)


def _speakers(topic: Topic) -> Iterator[FactCase]:
    for name, sender, device in (
        ("a device for another device", DIRECT, GATEWAY),
        ("a gateway for another gateway", NEIGHBOUR, GATEWAY),
        ("a gateway for a device of no gateway", GATEWAY, FREE),
        ("a sub-device for its gateway", SOLO, GATEWAY),
        ("a gateway for a device that does not exist", GATEWAY, f"{METERS}/nobody"),
        ("a channel for a device of its product", CHANNEL, GATEWAY),
    ):
        what = f"{identity(sender)} may not speak for {device}"
        yield topic.case(name, code=1009, message=what, topic=topic.of(device), sender=sender, by_sender=True)
    yield topic.case("a gateway for itself", topic=topic.of(GATEWAY), sender=GATEWAY, **stored(topic, GATEWAY))
    on_subs = topic.of(SUB_1)
    online = frozenset({(GATEWAY, SUB_1)})
    good = stored(topic, SUB_1)
    yield topic.case("a gateway for its sub-device", topic=on_subs, sender=GATEWAY, online=online, **good)
    what = f"{SUB_1} is offline"
    yield topic.case("a gateway for its offline sub-device", code=1212, message=what, topic=on_subs, sender=GATEWAY)
    yield topic.case(
        "a gateway for a sub-device that another one logged in",
        code=1212,
        message=f"{SHARED} is offline",
        topic=topic.of(SHARED),
        sender=GATEWAY,
        online=frozenset({(NEIGHBOUR, SHARED)}),
        by_sender=True,
    )
    good = stored(topic, SOLO)
    yield topic.case("a sub-device on a connection of its own", topic=topic.of(SOLO), sender=SOLO, **good)
    if topic.needs_model:
        what = f"params: product {BARE.partition('/')[0]}: has no thing model"
        yield topic.case("a device without a thing model", code=1204, message=what, topic=topic.of(BARE), sender=BARE)
    else:
        yield topic.case("a device without a thing model", topic=topic.of(BARE), sender=BARE, **stored(topic, BARE))


def _channel(topic: Topic) -> Iterator[FactCase]:
    other = f"{METERS}/%channel%"
    for name, sender in (("a channel of another product", other), ("a device of the product", DIRECT)):
        what = f"{identity(sender)} is not the channel of {GATEWAYS}"
        yield topic.case(name, code=1009, message=what, sender=sender, by_sender=True)
    params: Any
    item = topic.good[0]
    yield topic.case(
        "a channel for an offline sub-device",
        [{**item, "deviceKey": "sub-1"}],
        topic=topic.of(METERS),
        sender=other,
        **stored(topic, SUB_1),
    )
    what = f"params[1].deviceKey: device {GATEWAYS}/nobody not found"
    yield topic.case("the second device unknown", [item, {**item, "deviceKey": "nobody"}], 1257, what)
    what = f"params[0].deviceKey: device {GATEWAYS}/sub-1 not found"
    yield topic.case("a device of another product", [{**item, "deviceKey": "sub-1"}], 1257, what)
    for key, said in _NO_KEYS:
        params = [{name: value for name, value in {**item, "deviceKey": key}.items() if value is not ABSENT}]
        what = f"params[0].deviceKey: {said}"
        yield topic.case("no device key", params, 1220, what, variant=f"{key!r:.6}")
    bare, _, sub = BARE_SUB.partition("/")
    yield topic.case(
        "a channel of a product without a thing model",
        [{**item, "deviceKey": sub}],
        1204,
        f"params[0]: product {bare}: has no thing model",
        topic=topic.of(bare),
        sender=f"{bare}/%channel%",
    )
    yield topic.case("nothing, as the Python SDK sends it", [])
    for params in ({}, None, "x", [[]], [7]):
        at = "params[0]: expected an object" if params in ([[]], [7]) else "params: expected an array"
        yield topic.case("params of another shape", params, 1220, at, variant=str(params))
