"""Attributes: values by the model, all or nothing; what is asked for and deleted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from tests.cases.facts.case import FactCase
from tests.cases.facts.topics import DELETE, INT_ATTRIBUTES, QUERY, UPDATE
from tests.cases.world import DIRECT, GATEWAY

__all__ = ["cases"]

_ALL: dict[str, Any] = {
    "site": "Zürich",
    "power": 110.5,
    "strings": 12,
    "tested": True,
    "class": "A",
    "curve": [1, 2],
    "rating": {"count": 3, "unit": "kW"},
    "INV.Serial": "逆变器-1",
    "installed": "2024-09-30",
}
_BAD = (
    ("unknown", {"nope": 1}, "nope: unknown"),
    ("unknown by its letters", {"Site": "x"}, "Site: unknown"),
    ("text too long", {"site": "x" * 9}, "site: at most 8 characters"),
    ("number as text", {"power": "1"}, "power: expected a number"),
    ("below the minimum", {"power": -1}, "power: at least 0"),
    ("null", {"strings": None}, "strings: expected an integer"),
    ("with a quality", {"power": {"value": 1, "quality": 0}}, "power: expected a number"),
    ("no choice of the enumeration", {"class": "C"}, 'class: expected one of "A", "B"'),
    ("item of an array", {"curve": [1, "x"]}, "curve[1]: expected an integer of 32 bits, also as a string"),
    ("member of a struct missing", {"rating": {"unit": "kW"}}, "rating.count: missing"),
)


def _before(attributes: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    return ((UPDATE.of(DIRECT), UPDATE.request({"attributes": attributes})),)


def _stored(attributes: dict[str, Any]) -> dict[str, Any]:
    return {"attributes": {DIRECT: attributes}}


def cases() -> Iterator[FactCase]:
    """Every case of this theme."""
    yield from _update()
    yield from _count()
    yield from _shape()
    yield from _query()
    yield from _delete()
    yield from _integration()


def _update() -> Iterator[FactCase]:
    yield UPDATE.case("every type", {"attributes": _ALL}, attributes={DIRECT: _ALL})
    yield UPDATE.case("none", {"attributes": {}})
    for name, bad, said in _BAD:
        what = f"params.attributes.{said}"
        yield UPDATE.case(name, {"attributes": {"site": "y", **bad}}, 1204, what, variant="last")
        kept = {DIRECT: {"site": "old"}}
        before = _before(kept[DIRECT])
        params = {"attributes": {**bad, "tested": True}}
        yield UPDATE.case(name, params, 1204, what, before=before, attributes=kept, variant="first")
    yield UPDATE.case(
        "in place of the old ones, which it does not name stay",
        {"attributes": {"site": "new", "tested": False}},
        before=_before({"site": "old", "strings": 7}),
        attributes={DIRECT: {"site": "new", "strings": 7, "tested": False}},
    )
    payload = orjson.dumps(UPDATE.request({"attributes": {"strings": 1}})).replace(b":1}", b':1,"strings":2}')
    yield UPDATE.case("the last of two equal ones", request=payload, attributes={DIRECT: {"strings": 2}})
    big = {"attributes": {"power": 2**63}}
    yield UPDATE.case("an integer beyond 64 bits", big, **_stored({"power": 2.0**63}))


def _count() -> Iterator[FactCase]:
    most = {f"a{number:03}": number for number in range(200)}
    yield UPDATE.case("200 at once", {"attributes": most}, attributes={DIRECT: most})
    what = "params: at most 200 attributes at a time"
    yield UPDATE.case("201 at once", {"attributes": {**most, "a200": 1}}, 1220, what)
    yield UPDATE.case("201 in two objects", [{"attributes": most}, {"attributes": {"site": "x"}}], 1220, what)
    item = {"deviceKey": "direct", "attributes": most}
    yield INT_ATTRIBUTES.case("200 at once", [item], attributes={DIRECT: most})
    over = {**item, "attributes": {**most, "a200": 1}}
    what = "params[1].attributes: at most 200 attributes at a time"
    yield INT_ATTRIBUTES.case("201 at once", [item, over], 1220, what)


def _shape() -> Iterator[FactCase]:
    both = {DIRECT: {"site": "y", "strings": 7}}
    params: Any = [{"attributes": {"site": "x", "strings": 7}}, {"attributes": {"site": "y"}}]
    yield UPDATE.case("an array, as in the documents' sample", params, attributes=both)
    yield UPDATE.case("an empty array", [])
    yield UPDATE.case(
        "an array with a bad one",
        [{"attributes": {"site": "x"}}, {"attributes": {"site": 1}}],
        1204,
        "params[1].attributes.site: expected a string",
    )
    for params, said in (
        ({}, "params.attributes: missing"),
        ({"attributes": None}, "params.attributes: expected an object"),
        ({"attributes": ["site"]}, "params.attributes: expected an object"),
        ([{}], "params[0].attributes: missing"),
        ([7], "params[0]: expected an object"),
        (None, "params: expected an object"),
        ("x", "params: expected an object"),
    ):
        yield UPDATE.case("of another shape", params, 1220, said, variant=str(params))
    for topic in (QUERY, DELETE):
        for params, said in (
            ([], "params: expected an object"),
            (None, "params: expected an object"),
            ({"attributes": "site"}, "params.attributes: expected an array"),
            ({"attributes": {}}, "params.attributes: expected an array"),
            ({"attributes": [7]}, "params.attributes[0]: expected a string"),
        ):
            yield topic.case("of another shape", params, 1220, said, variant=str(params))
    for params, said in (({}, "missing"), ({"attributes": None}, "expected an array")):
        yield DELETE.case("without names", params, 1220, f"params.attributes: {said}", variant=str(params))


def _query() -> Iterator[FactCase]:
    has = {"site": "Zürich", "rating": {"count": 3}, "power": 2.0}
    more: dict[str, Any] = {"before": _before(has), "attributes": {DIRECT: has}}
    yield QUERY.case("one of several", {"attributes": ["rating"]}, data={"rating": {"count": 3}}, **more)
    names = ["power", "site", "power"]
    yield QUERY.case("several, one twice", {"attributes": names}, data={"power": 2.0, "site": "Zürich"}, **more)
    yield QUERY.case("one that has no value", {"attributes": ["strings", "site"]}, data={"site": "Zürich"}, **more)
    params: Any
    for params in ({"attributes": []}, {"attributes": None}, {}):
        yield QUERY.case("all", params, data=has, variant=str(params), **more)
    yield QUERY.case("all of none", {"attributes": []})
    yield QUERY.case("an unknown one", {"attributes": ["site", "nope"]}, 1204, "params.attributes[1]: unknown", **more)
    theirs = QUERY.of(GATEWAY)
    yield QUERY.case("of a device that has none", before=more["before"], topic=theirs, sender=GATEWAY, **_stored(has))


def _delete() -> Iterator[FactCase]:
    before = _before({"site": "x", "strings": 7})
    yield DELETE.case("one of several", {"attributes": ["strings"]}, before=before, attributes={DIRECT: {"site": "x"}})
    yield DELETE.case("one twice", {"attributes": ["strings", "strings", "site"]}, before=before)
    has = {DIRECT: {"site": "x", "strings": 7}}
    yield DELETE.case("one that has no value", {"attributes": ["power"]}, before=before, attributes=has)
    yield DELETE.case("none", {"attributes": []}, before=before, attributes=has)
    what = "params.attributes[1]: unknown"
    yield DELETE.case("an unknown one", {"attributes": ["site", "nope"]}, 1204, what, before=before, attributes=has)


def _integration() -> Iterator[FactCase]:
    params: Any = [
        {"deviceKey": "direct", "attributes": {"site": "x", "strings": 1}},
        {"deviceKey": "gw-1", "attributes": {"tested": True}},
        {"deviceKey": "direct", "attributes": {"strings": 2}},
        {"deviceKey": "gw-2", "attributes": {}},
    ]
    has = {DIRECT: {"site": "x", "strings": 2}, GATEWAY: {"tested": True}}
    yield INT_ATTRIBUTES.case("several devices, one twice", params, attributes=has)
    for name, bad, said in _BAD:
        what = f"params[1].attributes.{said}"
        params = [{"deviceKey": "direct", "attributes": {"site": "y"}}, {"deviceKey": "gw-1", "attributes": bad}]
        yield INT_ATTRIBUTES.case(name, params, 1204, what)
    what = "params[0].attributes: expected an object"
    junk: Any
    for junk in (None, []):
        params = [{"deviceKey": "direct", "attributes": junk}]
        yield INT_ATTRIBUTES.case("no attributes", params, 1220, what, variant=str(junk))
    yield INT_ATTRIBUTES.case("attributes missing", [{"deviceKey": "direct"}], 1220, "params[0].attributes: missing")
