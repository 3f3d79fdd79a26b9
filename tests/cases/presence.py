"""Who must be online, and the two flags of a batch in every situation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.cases.case import Case, Stored, T
from tests.cases.requests import BATCH, RESUME
from tests.cases.world import GATEWAY, NEIGHBOUR, SHARED, SOLO, SUB_1, SUB_2

__all__ = ["cases"]

_SKIPPED = "1 invalid measurement point skipped"


def cases() -> Iterator[Case]:
    """Every case of this theme."""
    yield from _matrix()
    yield from _waived()
    yield from _presence()


def _item(device: str, measurepoints: dict[str, Any] | None = None, time: int = T) -> dict[str, Any]:
    product, _, key = device.partition("/")
    return BATCH.item(measurepoints, time, productKey=product, deviceKey=key)


def _matrix() -> Iterator[Case]:
    """Five situations, each with four pairs of flags; the verdicts are told in the order TT, TF, FT, FF."""
    good, good_2 = BATCH.stored(device=SUB_1), BATCH.stored(device=SUB_2)
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
            yield BATCH.case(
                f"{situation}, skip {skip}, allow {allow}",
                BATCH.request(items, skipInvalidMeasurepoints=skip, allowOfflineSubDevice=allow),
                code,
                message,
                online=online,
                stored=stored[0] if stored else (),
                skipped="skipped: params[1].measurepoints.nope: unknown" if code == 200 and message else "",
            )


def _waived() -> Iterator[Case]:
    mixed = {"temp": 1.5, "nope": 1, "Power": {"value": 1, "quality": 9}, "branchCurr": 1}
    path = "params[0].measurepoints"
    yield BATCH.case(
        "skipping keeps the valid points of an item",
        BATCH.request([BATCH.item(mixed)], skipInvalidMeasurepoints=True),
        200,
        "2 invalid measurement points skipped",
        stored=(BATCH.stored(), BATCH.stored("Power", 1, quality=9)),
        skipped=f"skipped: {path}.nope: unknown; {path}.branchCurr: expected an array",
    )
    yield BATCH.case(
        "skipping may leave nothing",
        BATCH.request([BATCH.item({"nope": 1})], skipInvalidMeasurepoints=True),
        200,
        _SKIPPED,
        skipped=f"skipped: {path}.nope: unknown",
    )
    for count, more in ((20, ""), (21, "; and 1 more"), (150, "; and 130 more")):
        many = {f"nope{index}": 1 for index in range(count)}
        named = "; ".join(f"{path}.nope{index}: unknown" for index in range(20))
        yield BATCH.case(
            "skipping many names twenty",
            BATCH.request([BATCH.item(many)], skipInvalidMeasurepoints=True),
            200,
            f"{count} invalid measurement points skipped",
            skipped=f"skipped: {named}{more}",
            variant=str(count),
        )
    yield BATCH.case(
        "skipping nothing says nothing",
        BATCH.one(skipInvalidMeasurepoints=True, allowOfflineSubDevice=True),
        200,
        stored=(BATCH.stored(),),
    )
    yield BATCH.case(
        "all sub-devices offline and allowed",
        BATCH.request([_item(SUB_1), _item(SUB_2)], allowOfflineSubDevice=True),
        200,
        stored=(BATCH.stored(device=SUB_1), BATCH.stored(device=SUB_2)),
    )


def _presence() -> Iterator[Case]:
    yield BATCH.case(
        "sub-device that another gateway logged in",
        BATCH.request([_item(SHARED)]),
        1212,
        f"params[0]: {SHARED} is offline",
        online=frozenset({(NEIGHBOUR, SHARED)}),
    )
    yield BATCH.case(
        "sub-device of two gateways, logged in here",
        BATCH.request([_item(SHARED)]),
        200,
        online=frozenset({(GATEWAY, SHARED)}),
        stored=(BATCH.stored(device=SHARED),),
    )
    yield BATCH.case(
        "sub-device with a connection of its own, not logged in here",
        BATCH.request([_item(SOLO)]),
        1212,
        f"params[0]: {SOLO} is offline",
        connected=frozenset({SOLO}),
    )
    yield BATCH.case(
        "sub-device with a connection of its own, not logged in here, allowed",
        BATCH.request([_item(SOLO)], allowOfflineSubDevice=True),
        200,
        connected=frozenset({SOLO}),
        stored=(BATCH.stored(device=SOLO),),
    )
    for uplink in (RESUME, BATCH):
        yield uplink.case(
            "sub-device that speaks for itself",
            uplink.one(),
            200,
            topic=uplink.topic.replace(GATEWAY, SOLO),
            sender=SOLO,
            connected=frozenset({SOLO}),
            stored=(uplink.stored(device=SOLO),),
        )
