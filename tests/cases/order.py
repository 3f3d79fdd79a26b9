"""Two faults in one request: the check that comes first answers, and items are taken in order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from tests.cases.case import Case, T
from tests.cases.requests import ABSENT, ALONE, BATCH, BATCHES, POST, UPLINKS, WITH_ITEMS, Uplink
from tests.cases.world import (
    BARE_SUB,
    DIRECT,
    GATEWAY,
    GATEWAYS,
    METERS,
    NEIGHBOURS_SUB,
    SUB_1,
    SUB_2,
    identity,
)

__all__ = ["cases"]

_UNKNOWN = {"nope": 1}
_FIRST = frozenset({(GATEWAY, SUB_1)})


def cases() -> Iterator[Case]:
    """Every case of this theme."""
    for uplink in UPLINKS:
        yield from _envelope_first(uplink)
    for uplink in ALONE:
        yield from _alone(uplink)
    for batch in BATCHES:
        yield from _batch(batch)
    yield from _post()
    yield from _all_or_nothing()


def _item(device: str, measurepoints: dict[str, Any] | None = None, time: Any = T) -> dict[str, Any]:
    """An item of another device, the same on each batch topic."""
    product, _, key = device.partition("/")
    return BATCH.item(measurepoints, time, productKey=product, deviceKey=key)


def _envelope_first(uplink: Uplink) -> Iterator[Case]:
    long = orjson.dumps(uplink.one())[:-1].ljust(524289)
    what = "payload of 524289 bytes is over the limit of 524288"
    yield uplink.case("too long before no JSON", long, 1206, what)
    request = uplink.request(uplink.params(uplink.item(_UNKNOWN)), version=ABSENT)
    yield uplink.case("envelope before an unknown point", request, 1206, "version: missing")
    stranger = f"{METERS}/%channel%" if uplink is POST else DIRECT
    yield uplink.case(
        "envelope before a sender who may not", uplink.one(version=ABSENT), 1206, "version: missing", sender=stranger
    )
    yield uplink.case(
        "no JSON before a sender who may not", b"", 1206, "payload is empty", reply_id="", sender=stranger
    )
    request = uplink.request(uplink.params(uplink.item(_UNKNOWN)))
    what = f"{identity(stranger)} may not report for {GATEWAY}"
    if uplink is POST:
        what = f"{identity(stranger)} is not the channel of {GATEWAYS}"
    yield uplink.case("sender who may not before an unknown point", request, 1212, what, sender=stranger)
    request = uplink.request(uplink.params(uplink.item({"temp": "x", **_UNKNOWN, "int": "x"})))
    what = f"{uplink.path}.measurepoints.temp: expected a number"
    yield uplink.case("the first of several points", request, 1204, what)
    request = uplink.request(uplink.params(uplink.item({**_UNKNOWN, "temp": "x"})))
    yield uplink.case("an unknown point first", request, 1204, f"{uplink.path}.measurepoints.nope: unknown")
    params = uplink.params(uplink.item(time=-1))
    request = {"params": params, **uplink.request(ABSENT, method="x")}
    yield uplink.case("the fault that stands first in the envelope", request, 1206, f"{uplink.path}.time: at least 0")


def _alone(uplink: Uplink) -> Iterator[Case]:
    topic = uplink.topic.replace(GATEWAY, SUB_1)
    request = uplink.request(uplink.item(_UNKNOWN))
    what = f"params: {SUB_1} is offline"
    yield uplink.case("offline before an unknown point", request, 1212, what, topic=topic)
    request = uplink.request(uplink.item(time="x"))
    yield uplink.case("envelope before offline", request, 1206, "params.time: expected a number", topic=topic)


def _batch(batch: Uplink) -> Iterator[Case]:
    offline = f"{SUB_2} is offline"
    foreign = f"{NEIGHBOURS_SUB} is not a sub-device of {GATEWAY}"
    unknown = "measurepoints.nope: unknown"
    for name, items, code, what in (
        (
            "envelope of the last item before offline",
            [_item(SUB_2), _item(SUB_1, time="x")],
            1206,
            "[1].time: expected a number",
        ),
        (
            "envelope of the last item before a foreign device",
            [_item(NEIGHBOURS_SUB), _item(SUB_1, ABSENT)],  # type: ignore[arg-type]
            1206,
            "[1].measurepoints: missing",
        ),
        (
            "envelope of the last item before an unknown point",
            [_item(SUB_1, _UNKNOWN), 1],
            1206,
            "[1]: expected an object",
        ),
        ("foreign before its unknown point", [_item(NEIGHBOURS_SUB, _UNKNOWN)], 1212, f"[0]: {foreign}"),
        ("offline before its unknown point", [_item(SUB_2, _UNKNOWN)], 1212, f"[0]: {offline}"),
        (
            "unknown point of an item before a foreign one",
            [_item(SUB_1, _UNKNOWN), _item(NEIGHBOURS_SUB)],
            1204,
            f"[0].{unknown}",
        ),
        (
            "foreign item before an unknown point",
            [_item(NEIGHBOURS_SUB), _item(SUB_1, _UNKNOWN)],
            1212,
            f"[0]: {foreign}",
        ),
        (
            "unknown point of an item before an offline one",
            [_item(SUB_1, _UNKNOWN), _item(SUB_2)],
            1204,
            f"[0].{unknown}",
        ),
        ("offline item before an unknown point", [_item(SUB_2), _item(SUB_1, _UNKNOWN)], 1212, f"[0]: {offline}"),
        ("offline before its missing thing model", [_item(BARE_SUB)], 1212, f"[0]: {BARE_SUB} is offline"),
        ("offline item before a foreign one", [_item(SUB_2), _item(NEIGHBOURS_SUB)], 1212, f"[0]: {offline}"),
        ("foreign item before an offline one", [_item(NEIGHBOURS_SUB), _item(SUB_2)], 1212, f"[0]: {foreign}"),
        (
            "the first of two unknown points",
            [_item(SUB_1), _item(SUB_1, _UNKNOWN), _item(SUB_1, {"no": 1})],
            1204,
            f"[1].{unknown}",
        ),
    ):
        yield batch.case(name, batch.request(items), code, f"params{what}", online=_FIRST)
    request = batch.request([_item(NEIGHBOURS_SUB)])
    what = f"{DIRECT} may not report for {GATEWAY}"
    yield batch.case("sender who may not before a foreign item", request, 1212, what, sender=DIRECT)
    for name, items, what in (
        ("flags do not admit a foreign device", [_item(NEIGHBOURS_SUB)], f"[0]: {foreign}"),
        (
            "flags do not admit a foreign device behind a skipped point",
            [_item(SUB_1, _UNKNOWN), _item(NEIGHBOURS_SUB)],
            f"[1]: {foreign}",
        ),
    ):
        request = batch.request(items, allowOfflineSubDevice=True, skipInvalidMeasurepoints=True)
        yield batch.case(name, request, 1212, f"params{what}", online=_FIRST)
    request = batch.request([_item(SUB_1, _UNKNOWN), _item(SUB_2)], skipInvalidMeasurepoints=True)
    yield batch.case("offline behind a skipped point", request, 1212, f"params[1]: {offline}", online=_FIRST)


def _post() -> Iterator[Case]:
    nobody = f"deviceKey: device {GATEWAYS}/nobody not found"
    missing = "deviceKey: missing"
    unknown = "measurepoints.nope: unknown"
    stranger = POST.item(deviceKey="nobody")
    for name, items, code, what in (
        (
            "envelope of the last item before an unknown device",
            [stranger, POST.item(time="x")],
            1206,
            "[1].time: expected a number",
        ),
        ("unknown device before its unknown point", [POST.item(_UNKNOWN, deviceKey="nobody")], 1257, f"[0].{nobody}"),
        ("no device before its unknown point", [POST.item(_UNKNOWN, deviceKey="")], 1206, f"[0].{missing}"),
        ("unknown device before another's unknown point", [stranger, POST.item(_UNKNOWN)], 1257, f"[0].{nobody}"),
        ("unknown point before another's unknown device", [POST.item(_UNKNOWN), stranger], 1204, f"[0].{unknown}"),
        ("unknown device before a missing one", [stranger, POST.item(deviceKey="")], 1257, f"[0].{nobody}"),
        ("missing device before an unknown one", [POST.item(deviceKey=ABSENT), stranger], 1206, f"[0].{missing}"),
        (
            "unknown point before another's missing device",
            [POST.item(_UNKNOWN), POST.item(deviceKey="")],
            1204,
            f"[0].{unknown}",
        ),
    ):
        yield POST.case(name, POST.request(items), code, f"params{what}")
    request = POST.request([stranger])
    what = f"{identity(GATEWAY)} is not the channel of {GATEWAYS}"
    yield POST.case("sender who may not before an unknown device", request, 1212, what, sender=GATEWAY)


def _all_or_nothing() -> Iterator[Case]:
    """A fault in the last of many items keeps all of them out."""
    for uplink in WITH_ITEMS:
        good = [uplink.item({"int": index}, T + index) for index in range(99)]
        if uplink is POST:
            bad, code, what = POST.item(deviceKey="nobody"), 1257, f"deviceKey: device {GATEWAYS}/nobody not found"
        else:
            bad, code, what = uplink.item(_UNKNOWN), 1204, "measurepoints.nope: unknown"
        yield uplink.case("99 good items and one bad", uplink.request([*good, bad]), code, f"params[99].{what}")
