"""Faults of one item, in each place that an item can have: checks 2, 3, 4, 5 and 6 of the table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.cases.case import Case
from tests.cases.requests import ABSENT, ALONE, BATCHES, POST, WITH_ITEMS, Place, places
from tests.cases.world import BARE_SUB, FREE, GATEWAY, GATEWAYS, METERS, NEIGHBOUR, NEIGHBOURS_SUB, SUB_1

__all__ = ["cases"]

_LATEST = 253402300799999


def cases() -> Iterator[Case]:
    """Every case of this theme."""
    for place in places():
        yield from _shape(place)
        yield from _time(place)
        yield from _points(place)
    for place in places(*WITH_ITEMS):
        yield from _keys(place)
    for place in places(POST):
        yield from _channel(place)
    for place in places(*BATCHES):
        yield from _sub_devices(place)


def _shape(place: Place) -> Iterator[Case]:
    uplink = place.uplink
    junk: Any
    if uplink not in ALONE:
        for junk in (None, [], "x", 1, True):
            what = f"{place.path}: expected an object"
            yield uplink.case(f"no object{place.label}", place.request(junk), 1206, what, variant=str(junk))
    request = place.request(uplink.item(ABSENT))
    yield uplink.case(f"measurepoints missing{place.label}", request, 1206, f"{place.path}.measurepoints: missing")
    for junk in (None, False, 0, "", [], [{"temp": 1.5}]):
        what = f"{place.path}.measurepoints: expected an object"
        request = place.request({**uplink.item(), "measurepoints": junk})
        yield uplink.case(f"measurepoints no object{place.label}", request, 1206, what, variant=str(junk))


def _time(place: Place) -> Iterator[Case]:
    uplink = place.uplink
    junk: Any
    for junk in ("", "1700000000000", "2024-01-01T00:00:00Z", True, [], {}):
        what = f"{place.path}.time: expected a number"
        request = place.request(uplink.item(time=junk))
        yield uplink.case(f"time no number{place.label}", request, 1206, what, variant=str(junk))
    for time in (-1, -0.5, -(2**63)):
        request = place.request(uplink.item(time=time))
        yield uplink.case(
            f"time negative{place.label}", request, 1206, f"{place.path}.time: at least 0", variant=str(time)
        )
    for time in (_LATEST + 1, _LATEST + 0.5, 2**63, 1e300):
        request = place.request(uplink.item(time=time))
        yield uplink.case(
            f"time too late{place.label}", request, 1206, f"{place.path}.time: at most {_LATEST}", variant=str(time)
        )


def _points(place: Place) -> Iterator[Case]:
    uplink, path = place.uplink, f"{place.path}.measurepoints"
    request = place.request(uplink.item({"temp": 1.5, "nope": 1}))
    yield uplink.case(f"unknown point{place.label}", request, 1204, f"{path}.nope: unknown")
    request = place.request(uplink.item({"temp": "1.5"}))
    yield uplink.case(f"wrong value{place.label}", request, 1204, f"{path}.temp: expected a number")
    request = place.request(uplink.item({"temp": None}))
    yield uplink.case(f"null as a value{place.label}", request, 1204, f"{path}.temp: expected a number")


def _keys(place: Place) -> Iterator[Case]:
    uplink = place.uplink
    for key in ("deviceKey",) if uplink is POST else ("deviceKey", "productKey"):
        junk: Any
        for junk in (1, 0, False, True, [], {}):
            request = place.request(uplink.item(**{key: junk}))
            what = f"{place.path}.{key}: expected a string"
            yield uplink.case(f"{key} no string{place.label}", request, 1206, what, variant=str(junk))


def _channel(place: Place) -> Iterator[Case]:
    for name, key in (("missing", ABSENT), ("null", None), ("empty", "")):
        request = place.request(POST.item(deviceKey=key))
        yield POST.case(f"deviceKey {name}{place.label}", request, 1206, f"{place.path}.deviceKey: missing")
    for name, key in (
        ("unknown device", "nobody"),
        ("device of another product", "sub-1"),
        ("device key in other letters", "GW-1"),
        ("channel as a device", "%channel%"),
    ):
        request = place.request(POST.item(deviceKey=key))
        what = f"{place.path}.deviceKey: device {GATEWAYS}/{key} not found"
        yield POST.case(f"{name}{place.label}", request, 1257, what)


def _sub_devices(place: Place) -> Iterator[Case]:
    uplink = place.uplink
    for name, device in (
        ("sub-device of another gateway", NEIGHBOURS_SUB),
        ("device of no gateway", FREE),
        ("another gateway", NEIGHBOUR),
        ("device that does not exist", f"{METERS}/nobody"),
        ("product that does not exist", "Nowhere0/sub-1"),
    ):
        product, _, key = device.partition("/")
        request = place.request(uplink.item(productKey=product, deviceKey=key))
        what = f"{place.path}: {device} is not a sub-device of {GATEWAY}"
        yield uplink.case(f"{name}{place.label}", request, 1212, what)
    product, _, key = SUB_1.partition("/")
    item = uplink.item(productKey=product, deviceKey=key)
    yield uplink.case(
        f"sub-device offline{place.label}", place.request(item), 1212, f"{place.path}: {SUB_1} is offline"
    )
    online = frozenset({(GATEWAY, SUB_1)})
    stored = (*place.others(), uplink.stored(device=SUB_1))
    yield uplink.case(f"sub-device online{place.label}", place.request(item), 200, stored=stored, online=online)
    item = uplink.item({"int": 1}, productKey=product, deviceKey=key)
    what = f"{place.path}.measurepoints.int: unknown"
    yield uplink.case(
        f"point of the gateway's model on a sub-device{place.label}", place.request(item), 1204, what, online=online
    )
    product, _, key = BARE_SUB.partition("/")
    item = uplink.item(productKey=product, deviceKey=key)
    online = frozenset({(GATEWAY, BARE_SUB)})
    what = f"{place.path}: product {product}: has no thing model"
    yield uplink.case(f"product without a thing model{place.label}", place.request(item), 1204, what, online=online)
    yield uplink.case(
        f"product without a thing model, skipping{place.label}",
        place.request(item, skipInvalidMeasurepoints=True),
        1204,
        what,
        online=online,
    )
