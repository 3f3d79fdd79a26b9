"""What the official device SDKs send, and what the documents leave open: keys, times, more than was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.cases.case import Case, T
from tests.cases.requests import ABSENT, ALONE, BATCH, BATCHES, POST, UPLINKS, WITH_ITEMS, Uplink
from tests.cases.world import GATEWAY, GATEWAYS, METERS, SUB_1, SUB_2

__all__ = ["cases"]

_LATEST = 253402300799999
_BOTH = frozenset({(GATEWAY, SUB_1), (GATEWAY, SUB_2)})


def cases() -> Iterator[Case]:
    """Every case of this theme."""
    for batch in BATCHES:
        yield from _sdks(batch)
        yield from _keys(batch)
    yield from _others()
    yield from _times()
    yield from _more()


def _sub(key: str, measurepoints: dict[str, Any] | None = None, time: Any = T) -> dict[str, Any]:
    """An item of a sub-device, the same on each batch topic."""
    return BATCH.item(measurepoints, time, productKey=METERS, deviceKey=key)


def _sdks(batch: Uplink) -> Iterator[Case]:
    stored = (batch.stored(), batch.stored(device=SUB_1, time=T + 1))
    yield batch.case(
        "as the Python SDK sends it",
        batch.request(
            [batch.item(deviceKey=""), _sub("sub-1", time=T + 1)],
            id="65535",
            allowOfflineSubDevice="",
            skipInvalidMeasurepoints="",
        ),
        200,
        reply_id="65535",
        online=_BOTH,
        stored=stored,
    )
    yield batch.case(
        "as the Java SDK sends it",
        batch.request(
            [batch.item(), _sub("sub-1", time=T + 1)],
            version="1.1",
            allowOfflineSubDevice=False,
            skipInvalidMeasurepoints=False,
        ),
        200,
        online=_BOTH,
        stored=stored,
    )
    yield batch.case(
        "as the Node.js SDK sends it",
        batch.request(
            [batch.item(time=ABSENT), _sub("sub-1", time=ABSENT)],
            id="1",
            allowOfflineSubDevice=False,
            skipInvalidMeasurepoints=False,
        ),
        200,
        reply_id="1",
        online=_BOTH,
        stored=(batch.stored(time=None), batch.stored(device=SUB_1, time=None)),
    )
    uptime = 86_400_000 + BATCHES.index(batch)
    yield batch.case(
        "as the C SDK sends it",
        batch.request([batch.item(time=ABSENT), _sub("sub-1", time=uptime)], id="0"),
        200,
        reply_id="0",
        online=_BOTH,
        stored=(batch.stored(time=None), batch.stored(device=SUB_1, time=uptime)),
    )


def _others() -> Iterator[Case]:
    for uplink in (*ALONE, POST):
        request = uplink.one(version="1.1", id="1")
        yield uplink.case("as the Java SDK sends it", request, 200, reply_id="1", stored=(uplink.stored(),))
    merged = [
        POST.item({"temp": 1.5, "int": 1}),
        POST.item({"temp": 2.5}, T + 1),
        POST.item({"temp": 3.5}, deviceKey="gw-2"),
    ]
    yield POST.case(
        "several devices and times in one message",
        POST.request(merged),
        200,
        stored=(
            POST.stored(),
            POST.stored("int", 1),
            POST.stored("temp", 2.5, time=T + 1),
            POST.stored("temp", 3.5, device=f"{GATEWAYS}/gw-2"),
        ),
    )


def _keys(batch: Uplink) -> Iterator[Case]:
    for keys in (
        {},
        {"productKey": "", "deviceKey": ""},
        {"productKey": None, "deviceKey": None},
        {"productKey": None},
        {"deviceKey": ""},
        {"productKey": GATEWAYS},
        {"deviceKey": "gw-1"},
        {"productKey": GATEWAYS, "deviceKey": ""},
        {"productKey": GATEWAYS, "deviceKey": "gw-1"},
    ):
        request = batch.request([batch.item(**keys)])
        yield batch.case("keys of the gateway itself", request, 200, stored=(batch.stored(),), variant=str(keys))
    for name, keys, device in (
        ("only the product of a sub-device", {"productKey": METERS}, f"{METERS}/gw-1"),
        ("only the key of a sub-device", {"deviceKey": "sub-1"}, f"{GATEWAYS}/sub-1"),
        ("product of a sub-device, key empty", {"productKey": METERS, "deviceKey": ""}, f"{METERS}/gw-1"),
    ):
        what = f"params[0]: {device} is not a sub-device of {GATEWAY}"
        yield batch.case(name, batch.request([batch.item(**keys)]), 1212, what, online=_BOTH)
    topic = batch.topic.replace(GATEWAY, SUB_1)
    for name, keys in (
        ("only the product, on a sub-device's topic", {"productKey": METERS}),
        ("only the key, on a sub-device's topic", {"deviceKey": "sub-1"}),
    ):
        request = batch.request([batch.item(**keys)])
        yield batch.case(name, request, 200, topic=topic, online=_BOTH, stored=(batch.stored(device=SUB_1),))


def _times() -> Iterator[Case]:
    for uplink in UPLINKS:
        for name, absent in (("missing", ABSENT), ("null", None)):
            request = uplink.request(uplink.params(uplink.item(time=absent)))
            yield uplink.case(f"time {name}", request, 200, stored=(uplink.stored(time=None),))
        # Fixed times are told apart by their values: each case must leave a trace.
        for name, sent, time in (
            ("time zero", 0, 0),
            ("time of the samples", 123456, 123456),
            ("time at the end of the year 9999", _LATEST, _LATEST),
            ("time in seconds with a fraction", 1690000000.129, 1690000000129),
            ("time in seconds, nearly whole", 1795221525.13, 1795221525130),
            ("time in milliseconds with a fraction", 1690000000001.9, 1690000000001),
            ("time a fraction of a second", 0.0005, 0),
            ("time in the last seconds", 99999999999.5, 99999999999500),
            ("time in the first milliseconds", 100000000000.5, 100000000000),
            ("time whole, written with a point", 5000.0, 5000),
        ):
            value = f"{uplink.name}: {name}"
            yield uplink.case(
                name,
                uplink.request(uplink.params(uplink.item({"string": value}, sent))),
                200,
                stored=(uplink.stored("string", value, time=time),),
            )


def _more() -> Iterator[Case]:
    more = {"unit": "kW", "nested": {"a": [1, None]}, "ack": 0}
    for uplink in UPLINKS:
        request = uplink.request(uplink.params(uplink.item(**more)), **more, sys={"ack": 0})
        yield uplink.case("fields that nobody asked for", request, 200, stored=(uplink.stored(),))
        yield uplink.case("no point at all", uplink.request(uplink.params(uplink.item({}))), 200)
        request = {key.title() if key == "id" else key: value for key, value in uplink.one().items()}
        yield uplink.case("id in capitals is none", request, 200, reply_id="", stored=(uplink.stored(),))
    for uplink in WITH_ITEMS:
        items = [uplink.item({"temp": 1.5, "int": 1}), uplink.item({"temp": 9.5}), uplink.item({"temp": 2.5})]
        stored = (uplink.stored("temp", 2.5), uplink.stored("int", 1))
        yield uplink.case("the last value of a device, point and time wins", uplink.request(items), 200, stored=stored)
        items = [
            uplink.item({"Power": {"value": 1, "quality": 9}}),
            uplink.item({"Power": 2}),
        ]
        yield uplink.case(
            "the last value brings its own quality", uplink.request(items), 200, stored=(uplink.stored("Power", 2),)
        )
        items = [uplink.item({"int": index}, T + index) for index in range(200)]
        each = tuple(uplink.stored("int", index, time=T + index) for index in range(200))
        yield uplink.case("200 items", uplink.request(items), 200, stored=each)
