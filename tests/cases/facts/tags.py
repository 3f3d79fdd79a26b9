"""Tags: keys and values within their limits, a hundred of them at most."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.cases.facts.case import FactCase
from tests.cases.facts.topics import TAG_DELETE, TAG_QUERY, TAG_UPDATE
from tests.cases.world import DIRECT

__all__ = ["cases"]

_HUNDRED = {f"key-{number:02}": str(number) for number in range(100)}


def cases() -> Iterator[FactCase]:
    """Every case of this theme."""
    yield from _update()
    yield from _limits()
    yield from _keys()


def _tags(tags: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"tagKey": key, "tagValue": value} for key, value in tags.items()]


def _before(tags: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    return ((TAG_UPDATE.of(DIRECT), TAG_UPDATE.request(_tags(tags))),)


def _update() -> Iterator[FactCase]:
    yield TAG_UPDATE.case("none", [])
    before = _before({"a": "1", "b": "2"})
    after = {DIRECT: {"a": "3", "b": "2", "c": "4"}}
    yield TAG_UPDATE.case("in place of those of the same keys", _tags({"a": "3", "c": "4"}), before=before, tags=after)
    twice = _tags({"a": "1"}) + _tags({"a": "2"})
    yield TAG_UPDATE.case("the last of two of one key", twice, tags={DIRECT: {"a": "2"}})
    for key in ("x" * 50, "Az09_-/", "/", "-"):
        yield TAG_UPDATE.case("key within bounds", _tags({key: "v"}), tags={DIRECT: {key: "v"}}, variant=key[:10])
    for key in ("", "x" * 51, "a.b", "a b", "ä", "a\n", "a\0"):
        what = "params[0].tagKey: expected 1 to 50 letters, digits, _ - or /"
        yield TAG_UPDATE.case("key out of bounds", _tags({key: "v"}), 1220, what, variant=repr(key[:10]))
    for value in ("", "x" * 200, "ä" * 200, "\0\n\x1b", "🔋"):
        tags = {"k": value}
        yield TAG_UPDATE.case("value within bounds", _tags(tags), tags={DIRECT: tags}, variant=repr(value[:5]))
    number: Any
    for number, text in ((7, "7"), (-0.5, "-0.5"), (2**63, "9223372036854775808")):
        yield TAG_UPDATE.case("number", _tags({"k": number}), tags={DIRECT: {"k": text}}, variant=text)
    junk: Any
    other = "expected a string or a number"
    for junk, said in (("x" * 201, "at most 200 characters"), (True, other), (None, other), ([1], other)):
        what = f"params[1].tagValue: {said}"
        params = [*_tags({"a": "1"}), *_tags({"k": junk})]
        yield TAG_UPDATE.case("value out of bounds", params, 1220, what, variant=f"{junk!r:.6}")
    for junk, said in (
        ({"tagKey": "k", "tagValue": "v"}, "params: expected an array"),
        (None, "params: expected an array"),
        (["k"], "params[0]: expected an object"),
        ([{"tagKey": "k"}], "params[0].tagValue: missing"),
        ([{"tagValue": "v"}], "params[0].tagKey: missing"),
        ([{"tagKey": None, "tagValue": "v"}], "params[0].tagKey: expected 1 to 50 letters, digits, _ - or /"),
    ):
        yield TAG_UPDATE.case("of another shape", junk, 1220, said, variant=str(junk))


def _limits() -> Iterator[FactCase]:
    has = {DIRECT: _HUNDRED}
    yield TAG_UPDATE.case("a hundred at once", _tags(_HUNDRED), tags=has)
    what = "params: at most 100 items"
    yield TAG_UPDATE.case("a hundred and one at once", _tags({**_HUNDRED, "more": "x"}), 1220, what)
    before = _before(_HUNDRED)
    what = f"{DIRECT} would have more than 100 tags"
    over = _tags({"key-00": "new", "more": "x"})
    yield TAG_UPDATE.case("one more than a hundred", over, 1220, what, before=before, tags=has, kept=False)
    new = {DIRECT: {**_HUNDRED, "key-00": "new"}}
    yield TAG_UPDATE.case("one of the hundred", _tags({"key-00": "new"}), before=before, tags=new)
    room = (*before, (TAG_DELETE.of(DIRECT), TAG_DELETE.request({"tags": ["key-00"]})))
    after = {DIRECT: {**{key: value for key, value in _HUNDRED.items() if key != "key-00"}, "more": "x"}}
    yield TAG_UPDATE.case("one more where one has gone", _tags({"more": "x"}), before=room, tags=after)


def _keys() -> Iterator[FactCase]:
    has = {"a": "1", "b/c": "2"}
    more: dict[str, Any] = {"before": _before(has), "tags": {DIRECT: has}}
    yield TAG_QUERY.case("one of several", {"tags": ["b/c"]}, data={"b/c": "2"}, **more)
    yield TAG_QUERY.case("one twice", {"tags": ["a", "a"]}, data={"a": "1"}, **more)
    yield TAG_QUERY.case("one that is not there", {"tags": ["x", "a", "ä\n"]}, data={"a": "1"}, **more)
    yield TAG_QUERY.case("none of those that are there", {"tags": ["A"]}, **more)
    params: Any
    for params in ({"tags": []}, {"tags": None}, {}):
        yield TAG_QUERY.case("all", params, data=has, variant=str(params), **more)
    before = more["before"]
    yield TAG_DELETE.case("one of several", {"tags": ["a"]}, before=before, tags={DIRECT: {"b/c": "2"}})
    yield TAG_DELETE.case("all by name, one twice", {"tags": ["a", "b/c", "a"]}, before=before)
    yield TAG_DELETE.case("one that is not there", {"tags": ["A"]}, **more)
    yield TAG_DELETE.case("none", {"tags": []}, **more)
    for topic in (TAG_QUERY, TAG_DELETE):
        yield topic.case("a hundred", {"tags": [f"x{number}" for number in range(100)]}, **more)
        what = "params.tags: at most 100 items"
        yield topic.case("a hundred and one", {"tags": [f"x{number}" for number in range(101)]}, 1220, what, **more)
        for params, said in (
            ([], "params: expected an object"),
            ({"tags": "a"}, "params.tags: expected an array"),
            ({"tags": [1]}, "params.tags[0]: expected a string"),
        ):
            yield topic.case("of another shape", params, 1220, said, variant=str(params))
    for params, said in (({}, "missing"), ({"tags": None}, "expected an array")):
        yield TAG_DELETE.case("without keys", params, 1220, f"params.tags: {said}", variant=str(params))
