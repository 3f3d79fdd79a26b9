"""Checks 1 and 2 as far as they see the message as a whole: payload, version, method, params, id, flags."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from tests.cases.case import Beginning, Case, T
from tests.cases.requests import ABSENT, ALONE, BATCHES, POST, UPLINKS, Uplink

__all__ = ["cases"]

_LIMIT = 524288
_NO_JSON = Beginning("payload is not JSON: ")


def cases() -> Iterator[Case]:
    """Every case of this theme."""
    for uplink in UPLINKS:
        yield from _payload(uplink)
        yield from _unreadable(uplink)
        yield from _version(uplink)
        yield from _method(uplink)
        yield from _params(uplink)
        yield from _id(uplink)
        yield from _twice(uplink)
    for batch in BATCHES:
        yield from _flags(batch)
    for uplink in (*ALONE, POST):
        yield from _no_flags(uplink)


def _payload(uplink: Uplink) -> Iterator[Case]:
    good = orjson.dumps(uplink.one())
    yield uplink.case("payload empty", b"", 1206, "payload is empty", reply_id="")
    over = f"payload of {_LIMIT + 1} bytes is over the limit of {_LIMIT}"
    yield uplink.case("payload one byte over the limit", good.ljust(_LIMIT + 1), 1206, over)
    text = orjson.dumps(uplink.one(more="x" * 600 * 1024))
    over = f"payload of {len(text)} bytes is over the limit of {_LIMIT}"
    yield uplink.case("payload of 600 KiB", text, 1206, over)
    full = uplink.one(more="")
    full["more"] = "x" * (_LIMIT - len(orjson.dumps(full)))
    yield uplink.case("payload of exactly the limit", full, 200, stored=(uplink.stored(),))
    junk: Any
    for junk in ([], [uplink.one()], "7", 7, None, True, 1.5):
        what = "payload is not a JSON object"
        yield uplink.case("payload no object", junk, 1206, what, reply_id="", variant=repr(junk)[:10])


def _unreadable(uplink: Uplink) -> Iterator[Case]:
    good = orjson.dumps(uplink.one())
    open_end = good[:-1] + b',"more":'
    for name, payload, reply_id in (
        ("payload truncated", good[:-1], "7"),
        ("payload truncated inside its id", b'{"version":"1.0","id":"7', ""),
        ("payload not UTF-8", good.replace(b"1.0", b"1.\xff"), "7"),
        ("payload in UTF-16", good.decode().encode("utf-16"), ""),
        ("payload with a byte order mark", b"\xef\xbb\xbf" + good, "7"),
        ("payload with a second document behind it", good + b"{}", "7"),
        ("payload with a comma too many", good[:-1] + b",}", "7"),
        ("payload in single quotes", good.replace(b'"', b"'"), ""),
        ("NaN", open_end + b"NaN}", "7"),
        ("Infinity", open_end + b"-Infinity}", "7"),
        ("number of 400 digits", open_end + b"9" * 400 + b"}", "7"),
        ("nested 10 000 deep", open_end + b"[" * 10_000 + b"]" * 10_000 + b"}", "7"),
        ("half a surrogate pair", open_end + b'"\\ud83d"}', "7"),
        ("control character in a text", open_end + b'"\n"}', "7"),
        ("number as id of what is no JSON", good.replace(b'"id":"7"', b'"id": 17 ') + b"?", "17"),
        ("no id in what is no JSON", b"hello", ""),
    ):
        yield uplink.case(name, payload, 1206, _NO_JSON, reply_id=reply_id)


def _version(uplink: Uplink) -> Iterator[Case]:
    yield uplink.case("version missing", uplink.one(version=ABSENT), 1206, "version: missing")
    yield uplink.case("version empty", uplink.one(version=""), 1206, "version: at least 1 character")
    junk: Any
    for junk in (None, 1, 1.0, True, [], {}):
        request = uplink.one(version=junk)
        yield uplink.case("version no string", request, 1206, "version: expected a string", variant=str(junk))
    for text in ("1.1", "2", "v", " "):
        request = uplink.one(version=text)
        yield uplink.case("any version", request, 200, stored=(uplink.stored(),), variant=text)


def _method(uplink: Uplink) -> Iterator[Case]:
    expected = f'method: expected "{uplink.method}"'
    if len(uplink.method) > 38:
        expected = f'method: expected "{uplink.method[:38]}…'
    yield uplink.case("method missing", uplink.one(method=ABSENT), 1206, "method: missing")
    other = next(other for other in UPLINKS if other is not uplink).method
    yield uplink.case("method of another topic", uplink.one(method=other), 1206, expected)
    junk: Any
    for junk in (None, "", 1, uplink.method.upper(), f"{uplink.method} ", uplink.topic):
        yield uplink.case("method no method", uplink.one(method=junk), 1206, expected, variant=str(junk))


def _params(uplink: Uplink) -> Iterator[Case]:
    shape = "params: expected an object" if uplink in ALONE else "params: expected an array"
    yield uplink.case("params missing", uplink.request(ABSENT), 1206, "params: missing")
    other = [uplink.item()] if uplink in ALONE else uplink.item()
    yield uplink.case("params of the other shape", uplink.request(other), 1206, shape)
    junk: Any
    for junk in (None, "", 1, True):
        yield uplink.case("params neither object nor array", uplink.request(junk), 1206, shape, variant=str(junk))
    if uplink not in ALONE:
        yield uplink.case("params empty", uplink.request([]), 1206, "params: at least 1 item")


def _id(uplink: Uplink) -> Iterator[Case]:
    stored = (uplink.stored(),)
    for value, echoed in (
        *(("0", "0"), ("7", "7"), ("", ""), ("abc", "abc"), ("-1", "-1"), ("9" * 32, "9" * 32), ("逆 \n", "逆 \n")),
        *((str(2**63 - 1), str(2**63 - 1)), ("x" * 1000, "x" * 1000)),
    ):
        yield uplink.case(
            "id a string", uplink.one(id=value), 200, reply_id=echoed, stored=stored, variant=repr(value[:20])
        )
    for number in (0, 7, -1, 65535, 2**53 + 1, 2**63 - 1, 2**64 - 1):
        yield uplink.case(
            "id a number", uplink.one(id=number), 200, reply_id=str(number), stored=stored, variant=str(number)
        )
    yield uplink.case("id a whole number with a point", uplink.one(id=3.0), 200, reply_id="3", stored=stored)
    yield uplink.case("id missing", uplink.one(id=ABSENT), 200, reply_id="", stored=stored)
    yield uplink.case("id null", uplink.one(id=None), 200, reply_id="", stored=stored)
    junk: Any
    for junk in (1.5, True, [], ["7"], {}):
        yield uplink.case(
            "id of another kind",
            uplink.one(id=junk),
            1206,
            "id: expected a string or an integer",
            reply_id="",
            variant=str(junk),
        )


def _twice(uplink: Uplink) -> Iterator[Case]:
    """Equal keys, which only bytes can hold; `Case.moved` leaves those alone, so the times are told apart here."""
    time = T - 1 - UPLINKS.index(uplink)
    good = orjson.dumps(uplink.request(uplink.params(uplink.item(time=time))))
    request = good.replace(b'{"id"', b'{"id":"1","id"')
    yield uplink.case("the last of two ids", request, 200, stored=(uplink.stored(time=time),))
    long = "123456789012345678901234567890"
    request = good.replace(b'"id":"7"', b'"id":' + long.encode()).replace(b"1.5", b"3.5")
    stored = (uplink.stored(value=3.5, time=time),)
    yield uplink.case("id a number beyond 64 bits", request, 200, reply_id=long, stored=stored)
    request = good.replace(b"1.5", b'"x","temp":2.5')
    yield uplink.case("the last of two equal points", request, 200, stored=(uplink.stored(value=2.5, time=time),))


def _flags(batch: Uplink) -> Iterator[Case]:
    for flag in ("allowOfflineSubDevice", "skipInvalidMeasurepoints"):
        junk: Any
        for junk in (1, 0, "true", "True", "false", " ", [], {}):
            request = batch.one(**{flag: junk})
            yield batch.case(f"{flag} no boolean", request, 1206, f"{flag}: expected a boolean", variant=repr(junk))
        for value in (True, False, "", None):
            request = batch.one(**{flag: value})
            yield batch.case(f"{flag} as clients send it", request, 200, stored=(batch.stored(),), variant=repr(value))


def _no_flags(uplink: Uplink) -> Iterator[Case]:
    flags = {"allowOfflineSubDevice": "of no meaning here", "skipInvalidMeasurepoints": True}
    yield uplink.case("flags are no business of this topic", uplink.one(**flags), 200, stored=(uplink.stored(),))
    request = uplink.request(uplink.params(uplink.item({"temp": 1.5, "nope": 1})), skipInvalidMeasurepoints=True)
    what = f"{uplink.path}.measurepoints.nope: unknown"
    yield uplink.case("skipInvalidMeasurepoints does not help here", request, 1204, what)
