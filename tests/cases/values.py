"""Values: each type of the thing model accepted and refused on each topic, and what is stored of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.cases.case import Case, T
from tests.cases.requests import ALONE, BATCHES, UPLINKS, WITH_ITEMS

__all__ = ["cases"]

_MAX_FLOAT = 3.4028234663852886e38


class _Kind(NamedTuple):
    """A type: the point that has it, values that it takes, and values that it does not take with what is said then."""

    name: str
    point: str
    accepted: list[Any]
    refused: list[tuple[Any, str]]


_INT, _NUMBER, _TEXT = ": expected an integer", ": expected a number", ": expected a string"
_ENUM = ": expected one of 0, 1, -7"
_ARRAY, _INT_ITEM = ": expected an array", "[0]: expected an integer of 32 bits, also as a string"
_NUMBER_ITEM = "[0]: expected a number, also as a decimal string"
_DATE = ": expected a date, YYYY-MM-DD or YYYY-MM-DD HH:MM:SS"
_STAMP, _URI = ": expected a timestamp, epoch milliseconds or ISO 8601", ": expected a URI"

_KINDS = [
    _Kind(
        "INT",
        "int",
        [1, 0, -1, 3.0, 2147483647, -2147483648],
        [("1", _INT), (1.5, _INT), (True, _INT), (2147483648, ": at most 2147483647"), (None, _INT), ([1], _INT)],
    ),
    _Kind(
        "FLOAT",
        "temp",
        [1.02, 1, -0.0, _MAX_FLOAT, -1e-30],
        [
            ("1.02", _NUMBER),
            (False, _NUMBER),
            (3.5e38, f": at most {_MAX_FLOAT}"),
            ({"value": 1.0, "quality": 9}, _NUMBER),
        ],
    ),
    _Kind(
        "DOUBLE",
        "double",
        [1.02, 1, 1e308, 2**63 - 1, -(2**63), 0.1],
        [("1.02", _NUMBER), (True, _NUMBER), ([], _NUMBER)],
    ),
    _Kind(
        "STRING",
        "string",
        ["on", "", "x" * 1024, '逆变器 😀\n\t"\\', "1"],
        [("x" * 1025, ": at most 1024 characters"), (1, _TEXT), (True, _TEXT), (None, _TEXT), ({}, _TEXT)],
    ),
    _Kind(
        "STRING with maxLength", "string4", ["abcd", "😀😀😀😀"], [("abcde", ": at most 4 characters"), (1234, _TEXT)]
    ),
    _Kind(
        "BOOL",
        "bool",
        [True, False],
        [(1, ": expected a boolean"), (0, ": expected a boolean"), ("true", ": expected a boolean")],
    ),
    _Kind("ENUM of INT", "enum", [1, 0, -7], [(2, _ENUM), ("1", _INT), (True, _INT)]),
    _Kind(
        "ENUM of STRING",
        "enumText",
        ["on", "off"],
        [("ON", ': expected one of "on", "off"'), (1, _TEXT), ("", ': expected one of "on", "off"')],
    ),
    _Kind(
        "ARRAY of INT",
        "ints",
        [[1, 2], [], ["1", "-2"], [1, "2", 3.0]],
        [(1, _ARRAY), (["x"], _INT_ITEM), ([1.5], _INT_ITEM), (["2147483648"], _INT_ITEM), ({"0": 1}, _ARRAY)],
    ),
    _Kind(
        "ARRAY of FLOAT",
        "branchCurr",
        [["1.02", "2.02", "7.93"], [1.02, 2.02, 7.93], [1, "2e5", 2.5], []],
        [("1.02", _ARRAY), (["1,02"], _NUMBER_ITEM), ([True], _NUMBER_ITEM), ([None], _NUMBER_ITEM)],
    ),
    _Kind("ARRAY of DOUBLE", "doubles", [[1e308, "1e308"]], [(["NaN"], _NUMBER_ITEM), ([[1.5]], _NUMBER_ITEM)]),
    _Kind("ARRAY of STRING", "strings", [["a", ""], []], [([1], "[0]: expected a string"), ("a", _ARRAY)]),
    _Kind("ARRAY of BOOL", "bools", [[True, False]], [([0], "[0]: expected a boolean"), (True, _ARRAY)]),
    _Kind(
        "STRUCT",
        "struct",
        [{"count": 1, "unit": "kWh", "sum": 2.5}, {"count": 0}, {"sum": 1, "count": 3.0}],
        [
            ({}, ".count: missing"),
            ({"count": 1, "more": 2}, ".more: unknown"),
            ({"count": "1"}, ".count: expected an integer"),
            ({"count": -1}, ".count: at least 0"),
            ({"count": 1, "unit": "much too long"}, ".unit: at most 4 characters"),
            ([1], ": expected an object"),
        ],
    ),
    _Kind(
        "DATE",
        "date",
        ["2024-09-30", "2024-09-30 15:30:00"],
        [("30.09.2024", _DATE), (20240930, _DATE), ("2024-09-30T15:30:00", _DATE)],
    ),
    _Kind(
        "TIMESTAMP",
        "timestamp",
        [1727710200123, "2024-09-30T15:30:00.123Z", "2024-09-30T15:30:00+08:00"],
        [("now", _STAMP), (1.5, _STAMP), ("1727710200123", _STAMP), (True, _STAMP)],
    ),
    _Kind("FILE", "file", ["enos-connect://a/b.txt", "local://文件.txt"], [("a.txt", _URI), (1, _URI), ("", _URI)]),
    _Kind(
        "INT from 0 to 100",
        "percent",
        [0, 100, 50.0],
        [(-1, ": at least 0"), (101, ": at most 100"), (0.5, _INT)],
    ),
    _Kind("point with dots in its name", "INV.GenActivePW", [1.5], [("x", _NUMBER)]),
]


def cases() -> Iterator[Case]:
    """Every case of this theme."""
    for kind in _KINDS:
        yield from _accepted(kind)
        yield from _refused(kind)
    yield from _quality()
    yield from _names()
    yield from _stored_as()


def _accepted(kind: _Kind) -> Iterator[Case]:
    name = f"{kind.name} accepted"
    for uplink in ALONE:
        for value in kind.accepted:
            request = uplink.request(uplink.item({kind.point: value}))
            yield uplink.case(name, request, 200, stored=(uplink.stored(kind.point, value),), variant=str(value)[:30])
    for uplink in WITH_ITEMS:
        items = [uplink.item({kind.point: value}, T + index) for index, value in enumerate(kind.accepted)]
        stored = tuple(uplink.stored(kind.point, value, time=T + index) for index, value in enumerate(kind.accepted))
        yield uplink.case(name, uplink.request(items), 200, stored=stored)


def _refused(kind: _Kind) -> Iterator[Case]:
    for uplink in UPLINKS:
        # Every value on the batch topics; the others share its code, so the first tells that they do.
        for value, fault in kind.refused if uplink in BATCHES else kind.refused[:1]:
            yield uplink.case(
                f"{kind.name} refused",
                uplink.request(uplink.params(uplink.item({kind.point: value}))),
                1204,
                f"{uplink.path}.measurepoints.{kind.point}{fault}",
                variant=str(value)[:30],
            )


def _quality() -> Iterator[Case]:
    struct = {"count": 1, "unit": "kWh"}
    for uplink in UPLINKS:
        for name, point, sent, value, quality in (
            ("quality given", "Power", {"value": 1, "quality": 9}, 1, 9),
            ("quality left out", "Power", 1, 1, None),
            ("quality negative", "Power", {"quality": -1, "value": 2}, 2, -1),
            ("quality a whole number with a point", "Power", {"value": 3.0, "quality": 9.0}, 3.0, 9),
            ("quality of a struct", "structQ", {"value": struct, "quality": 0}, struct, 0),
            ("struct without quality, where it could have one", "structQ", struct, struct, None),
        ):
            yield uplink.case(
                name,
                uplink.request(uplink.params(uplink.item({point: sent}))),
                200,
                stored=(uplink.stored(point, value, quality=quality),),
            )
        path = f"{uplink.path}.measurepoints"
        either = "or an object with value and quality"
        for name, point, wrong, fault in (
            ("quality no integer", "Power", {"value": 1, "quality": "9"}, "Power.quality: expected an integer"),
            ("quality a fraction", "Power", {"value": 1, "quality": 0.5}, "Power.quality: expected an integer"),
            ("quality missing", "Power", {"value": 1}, "Power.quality: missing"),
            ("value missing beside quality", "Power", {"quality": 1}, "Power.value: missing"),
            ("value wrong beside quality", "Power", {"value": "1", "quality": 9}, "Power.value: expected an integer"),
            ("more beside quality", "Power", {"value": 1, "quality": 9, "time": 1}, "Power.time: unknown"),
            ("neither value nor quality", "Power", "1", f"Power: expected an integer, {either}"),
            ("quality of a point that has none", "int", {"value": 1, "quality": 9}, "int: expected an integer"),
        ):
            request = uplink.request(uplink.params(uplink.item({point: wrong})))
            yield uplink.case(name, request, 1204, f"{path}.{fault}")


def _names() -> Iterator[Case]:
    for uplink in UPLINKS:
        path = f"{uplink.path}.measurepoints"
        for name in ("power", "TEMP", "", "INV", " temp"):
            request = uplink.request(uplink.params(uplink.item({name: 1})))
            shown = f"{path}.{name}: unknown"
            yield uplink.case("point of a name that is not quite right", request, 1204, shown, variant=repr(name))
        long = "n" * 1000
        request = uplink.request(uplink.params(uplink.item({long: 1})))
        yield uplink.case("point of a very long name", request, 1204, f"{path}.{long[:39]}…: unknown")
        nested = {"INV": {"GenActivePW": 1.5}}
        request = uplink.request(uplink.params(uplink.item(nested)))
        yield uplink.case("dots are no path", request, 1204, f"{path}.INV: unknown")


def _stored_as() -> Iterator[Case]:
    for uplink in UPLINKS:
        beyond = [2**63, 2**64 - 1]
        for number in beyond:
            yield uplink.case(
                "integer beyond 64 bits becomes floating point",
                uplink.request(uplink.params(uplink.item({"double": number}))),
                200,
                stored=(uplink.stored("double", float(number)),),
                variant=str(number),
            )
        points: dict[str, Any] = {
            "int": 1,
            "temp": 1.0,
            "bool": True,
            "string": "1",
            "ints": ["1"],
            "doubleQ": {"value": 1, "quality": 1},
        }
        stored = [uplink.stored(name, value) for name, value in points.items() if name != "doubleQ"]
        stored.append(uplink.stored("doubleQ", 1, quality=1))
        request = uplink.request(uplink.params(uplink.item(points)))
        yield uplink.case("many points of one time keep their types", request, 200, stored=tuple(stored))
