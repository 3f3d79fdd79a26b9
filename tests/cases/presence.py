"""Who must be online, and the two flags of a batch in every situation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.cases.case import Case, Stored, T
from tests.cases.requests import ALONE, BATCH, BATCHES, Uplink
from tests.cases.world import GATEWAY, NEIGHBOUR, SHARED, SOLO, SUB_1, SUB_2

__all__ = ["cases"]

_SKIPPED = "1 invalid measurement point skipped"


def cases() -> Iterator[Case]:
    """Every case of this theme."""
    for batch in BATCHES:
        yield from _matrix(batch)
        yield from _waived(batch)
        yield from _presence(batch)
    for uplink in (*ALONE, *BATCHES):
        yield uplink.case(
            "sub-device that speaks for itself",
            uplink.one(),
            200,
            topic=uplink.topic.replace(GATEWAY, SOLO),
            sender=SOLO,
            connected=frozenset({SOLO}),
            stored=(uplink.stored(device=SOLO),),
        )


def _item(device: str, measurepoints: dict[str, Any] | None = None, time: int = T) -> dict[str, Any]:
    """An item of another device, the same on each batch topic."""
    product, _, key = device.partition("/")
    return BATCH.item(measurepoints, time, productKey=product, deviceKey=key)


def _matrix(batch: Uplink) -> Iterator[Case]:
    """Five situations, each with four pairs of flags; the verdicts are told in the order TT, TF, FT, FF."""
    good, good_2 = batch.stored(device=SUB_1), batch.stored(device=SUB_2)
    unknown = {"nope": 1}
    both, first = frozenset({(GATEWAY, SUB_1), (GATEWAY, SUB_2)}), frozenset({(GATEWAY, SUB_1)})
    stored_all: tuple[Stored, ...] = (good, good_2)
    stored_one: tuple[Stored, ...] = (good,)
    no_point = (1204, "params[1].measurepoints.nope: unknown")
    offline = (1212, f"params[1]: {SUB_2} is offline")
    situations: list[tuple[str, list[dict[str, Any]], frozenset[tuple[str, str]], list[Any]]] = [
        (
            "all online and valid",
            [_item(SUB_1), _item(SUB_2)],
            both,
            [(200, "", stored_all)] * 4,
        ),
        (
            "one with an unknown point",
            [_item(SUB_1), _item(SUB_2, unknown)],
            both,
            [(200, _SKIPPED, stored_one), (200, _SKIPPED, stored_one), no_point, no_point],
        ),
        (
            "one offline",
            [_item(SUB_1), _item(SUB_2)],
            first,
            [(200, "", stored_all), offline, (200, "", stored_all), offline],
        ),
        (
            "one offline with an unknown point",
            [_item(SUB_1), _item(SUB_2, unknown)],
            first,
            [(200, _SKIPPED, stored_one), offline, no_point, offline],
        ),
        (
            "one offline, another with an unknown point",
            [_item(SUB_2), _item(SUB_1, unknown)],
            first,
            [
                (200, _SKIPPED, (good_2,)),
                (1212, f"params[0]: {SUB_2} is offline"),
                no_point,
                (1212, f"params[0]: {SUB_2} is offline"),
            ],
        ),
    ]
    for situation, items, online, verdicts in situations:
        for (skip, allow), (code, message, *stored) in zip(
            ((True, True), (True, False), (False, True), (False, False)), verdicts, strict=True
        ):
            yield batch.case(
                f"{situation}, skip {skip}, allow {allow}",
                batch.request(items, skipInvalidMeasurepoints=skip, allowOfflineSubDevice=allow),
                code,
                message,
                online=online,
                stored=stored[0] if stored else (),
                skipped="skipped: params[1].measurepoints.nope: unknown" if code == 200 and message else "",
            )


def _waived(batch: Uplink) -> Iterator[Case]:
    mixed = {"temp": 1.5, "nope": 1, "Power": {"value": 1, "quality": 9}, "branchCurr": 1}
    path = "params[0].measurepoints"
    yield batch.case(
        "skipping keeps the valid points of an item",
        batch.request([batch.item(mixed)], skipInvalidMeasurepoints=True),
        200,
        "2 invalid measurement points skipped",
        stored=(batch.stored(), batch.stored("Power", 1, quality=9)),
        skipped=f"skipped: {path}.nope: unknown; {path}.branchCurr: expected an array",
    )
    yield batch.case(
        "skipping may leave nothing",
        batch.request([batch.item({"nope": 1})], skipInvalidMeasurepoints=True),
        200,
        _SKIPPED,
        skipped=f"skipped: {path}.nope: unknown",
    )
    for count, more in ((20, ""), (21, "; and 1 more"), (150, "; and 130 more")):
        many = {f"nope{index}": 1 for index in range(count)}
        named = "; ".join(f"{path}.nope{index}: unknown" for index in range(20))
        yield batch.case(
            "skipping many names twenty",
            batch.request([batch.item(many)], skipInvalidMeasurepoints=True),
            200,
            f"{count} invalid measurement points skipped",
            skipped=f"skipped: {named}{more}",
            variant=str(count),
        )
    yield batch.case(
        "skipping nothing says nothing",
        batch.one(skipInvalidMeasurepoints=True, allowOfflineSubDevice=True),
        200,
        stored=(batch.stored(),),
    )
    yield batch.case(
        "all sub-devices offline and allowed",
        batch.request([_item(SUB_1), _item(SUB_2)], allowOfflineSubDevice=True),
        200,
        stored=(batch.stored(device=SUB_1), batch.stored(device=SUB_2)),
    )


def _presence(batch: Uplink) -> Iterator[Case]:
    yield batch.case(
        "sub-device that another gateway logged in",
        batch.request([_item(SHARED)]),
        1212,
        f"params[0]: {SHARED} is offline",
        online=frozenset({(NEIGHBOUR, SHARED)}),
    )
    yield batch.case(
        "sub-device of two gateways, logged in here",
        batch.request([_item(SHARED)]),
        200,
        online=frozenset({(GATEWAY, SHARED)}),
        stored=(batch.stored(device=SHARED),),
    )
    yield batch.case(
        "sub-device with a connection of its own, not logged in here",
        batch.request([_item(SOLO)]),
        1212,
        f"params[0]: {SOLO} is offline",
        connected=frozenset({SOLO}),
    )
    yield batch.case(
        "sub-device with a connection of its own, not logged in here, allowed",
        batch.request([_item(SOLO)], allowOfflineSubDevice=True),
        200,
        connected=frozenset({SOLO}),
        stored=(batch.stored(device=SOLO),),
    )
