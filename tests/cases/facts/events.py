"""Events: what they carry by the model, their times, several at once over the integration channel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.cases.case import T
from tests.cases.facts.case import ABSENT, FactCase, Told
from tests.cases.facts.topics import ALARM, INT_EVENTS
from tests.cases.world import DIRECT, GATEWAY

__all__ = ["cases"]

_BAD: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("a required member missing", {"text": "x"}, "level: missing"),
    ("nothing in it", {}, "level: missing"),
    ("an unknown member", {"level": 3, "Level": 3}, "Level: unknown"),
    ("a member of the wrong type", {"level": "3"}, "level: expected an integer"),
    ("a required member null", {"level": None}, "level: expected an integer"),
    ("a struct without its member", {"level": 3, "where": {}}, "where.count: missing"),
)
_TIMES: tuple[tuple[str, Any, int | None], ...] = (
    ("epoch milliseconds", T + 1, T + 1),
    ("zero", 0, 0),
    ("missing", ABSENT, None),
    ("null", None, None),
    ("seconds with a fraction", 1_700_000_000.25, T + 250),
    ("a fraction of a millisecond", T + 0.75, T),
    ("the last one", 253402300799999, 253402300799999),
)
_NO_TIMES: tuple[tuple[Any, str], ...] = (
    ("1700000000000", "expected a number"),
    ("", "expected a number"),
    (True, "expected a number"),
    (-1, "at least 0"),
    (253402300800000, "at most 253402300799999"),
)


def cases() -> Iterator[FactCase]:
    """Every case of this theme."""
    yield from _post()
    yield from _times()
    yield from _names()
    yield from _integration()


def _given(time: Any) -> dict[str, Any]:
    return {} if time is ABSENT else {"time": time}


def _post() -> Iterator[FactCase]:
    full = {"level": -3, "text": "heiß", "where": {"count": 1, "unit": "m"}}
    yield ALARM.case("all that it may carry", {"events": full, "time": T}, events=(Told(DIRECT, "alarm", full),))
    for name, bad, said in _BAD:
        yield ALARM.case(name, {"events": bad, "time": T}, 1204, f"params.events.{said}")
    params: Any
    for params, said in (
        ({}, "params.events: missing"),
        ({"events": None}, "params.events: expected an object"),
        ({"events": [{"level": 3}]}, "params.events: expected an object"),
        ([], "params: expected an object"),
        (None, "params: expected an object"),
    ):
        yield ALARM.case("of another shape", params, 1220, said, variant=str(params))
    many = {"level": 3, **dict.fromkeys(map(str, range(40_000)), 1)}
    yield ALARM.case("unknown members without end", {"events": many}, 1204, "params.events.0: unknown")
    before = ((ALARM.of(DIRECT), ALARM.request({"events": {"level": 1, "text": "x"}, "time": T})),)
    yield ALARM.case("once more, the last one stays", before=before, events=(Told(DIRECT, "alarm", {"level": 3}),))
    both = (Told(DIRECT, "alarm", {"level": 1, "text": "x"}), Told(DIRECT, "alarm", {"level": 3}, T + 1))
    params = {"events": {"level": 3}, "time": T + 1}
    yield ALARM.case("another one a millisecond later", params, before=before, events=both)


def _times() -> Iterator[FactCase]:
    for name, time, expected in _TIMES:
        params: Any = {"events": {"level": 3}, **_given(time)}
        yield ALARM.case("time", params, events=(Told(DIRECT, "alarm", {"level": 3}, expected),), variant=name)
        params = [{"deviceKey": "direct", "events": {"alarm": {"level": 3}}, **_given(time)}]
        told = Told(DIRECT, "alarm", {"level": 3}, expected, "integration")
        yield INT_EVENTS.case("time", params, events=(told,), variant=name)
    for time, said in _NO_TIMES:
        params = {"events": {"level": 3}, "time": time}
        yield ALARM.case("no time", params, 1220, f"params.time: {said}", variant=repr(time))
        params = [{"deviceKey": "direct", "events": {}, "time": time}]
        yield INT_EVENTS.case("no time", params, 1220, f"params[0].time: {said}", variant=repr(time))


def _names() -> Iterator[FactCase]:
    def on(event: str) -> str:
        return ALARM.of(DIRECT).replace("alarm", event)

    nothing = {"events": {}, "time": T}
    yield ALARM.case("that carries nothing", nothing, topic=on("restarted"), events=(Told(DIRECT, "restarted", {}),))
    manual = {"manual": False}
    params = {"events": manual, "time": T}
    yield ALARM.case("whose name has a dot", params, topic=on("INV.Trip"), events=(Told(DIRECT, "INV.Trip", manual),))
    yield ALARM.case("that is unknown", code=1204, message="event nope is unknown", topic=on("nope"))
    yield ALARM.case("unknown by its letters", code=1204, message="event Alarm is unknown", topic=on("Alarm"))
    yield ALARM.case("without a name", code=1204, message="event  is unknown", topic=on(""))
    long = f"event {'x' * 39}… is unknown"
    yield ALARM.case("of a long name", code=1204, message=long, topic=on("x" * 200))
    for name, topic in (("of two levels", on("alarm/x")), ("that is not posted", on("alarm").replace("/post", "/get"))):
        what = f"no such topic for devices: {topic.partition('direct/')[2]}"
        yield ALARM.case(name, code=1009, message=what, topic=topic)


def _integration() -> Iterator[FactCase]:
    params: Any = [
        {"deviceKey": "direct", "events": {"alarm": {"level": 1}, "restarted": {}}, "time": T},
        {"deviceKey": "gw-1", "events": {"alarm": {"level": 2}}, "time": T + 1},
        {"deviceKey": "direct", "events": {"alarm": {"level": 3}}, "time": T},
        {"deviceKey": "direct", "events": {}},
    ]
    yield INT_EVENTS.case(
        "several devices and times, the last of two equal ones",
        params,
        events=(
            Told(DIRECT, "alarm", {"level": 3}, T, "integration"),
            Told(DIRECT, "restarted", {}, T, "integration"),
            Told(GATEWAY, "alarm", {"level": 2}, T + 1, "integration"),
        ),
    )
    good = {"deviceKey": "direct", "events": {"alarm": {"level": 1}}, "time": T}
    for name, bad, said in _BAD:
        params = [good, {"deviceKey": "gw-1", "events": {"alarm": bad}}]
        yield INT_EVENTS.case(name, params, 1204, f"params[1].events.alarm.{said}")
    params = [good, {"deviceKey": "direct", "events": {"alarm": {"level": 1}, "nope": {}}}]
    yield INT_EVENTS.case("one unknown", params, 1204, "event nope is unknown")
    many = dict.fromkeys(map(str, range(40_000)), 1)
    for events, said in (
        (many, "params[0].events.0: expected an object"),
        ({"alarm": {"level": 1}, "x" * 100: None}, f"params[0].events.{'x' * 39}…: expected an object"),
        (ABSENT, "params[0].events: missing"),
        (None, "params[0].events: expected an object"),
        ([], "params[0].events: expected an object"),
        ({"alarm": 3}, "params[0].events.alarm: expected an object"),
    ):
        item = {"deviceKey": "direct", "events": events}
        params = [{name: value for name, value in item.items() if value is not ABSENT}]
        yield INT_EVENTS.case("of another shape", params, 1220, said, variant=f"{events!r:.12}")
