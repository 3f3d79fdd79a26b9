"""Requests and replies as JSON.

A request is an object with `id`, `version`, `method` and `params`; a reply has `id`, `code`, `data` and, where
there is something to say, `message`. The reply's `id` is a string whatever the request's was, and `data` is
always there: the official C SDK drops a reply that lacks it, or that has a string in a measurement point
reply's `data`.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, TypeGuard

import orjson

from enos_ingest.errors import PayloadError
from enos_ingest.protocol.codes import Code

__all__ = ["decode_request", "encode_reply", "is_set", "parse_flag", "parse_time", "request_id", "scan_id"]

_SUCCESS = Code.SUCCESS
_SUCCESS_REPLY = b'{"id":%b,"code":200,"data":{}}'
"""The answer to nearly every message, byte for byte as it would be encoded, in half the time."""

_ID_IN_TEXT = re.compile(rb'"id"\s*:\s*(?:"([^"\\\x00-\x1f]{0,1024})"|(-?[0-9]{1,1024})(?=[\s,}]|$))')
_INTEGER = re.compile(r"-?[0-9]{1,1024}")
_SECONDS_BELOW = 1e11
"""A fractional time below this is seconds: the Python SDK falls back on `time.time()`."""


def decode_request(payload: bytes, limit: int, size: int | None = None) -> dict[str, Any]:
    """The JSON object in `payload`.

    Args:
        limit: the greatest length in bytes.
        size: the length as received, where `payload` is only the beginning of what was over the limit.

    Raises:
        PayloadError: it is empty, too long, not JSON in UTF-8, or not an object; with the id that could still be
            found.
    """
    if size is None:
        size = len(payload)
    if not size:
        raise PayloadError("payload is empty")
    if size > limit:
        found = scan_id(payload, is_whole=size == len(payload))
        raise PayloadError(f"payload of {size} bytes is over the limit of {limit}", found)
    try:
        document = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise PayloadError(f"payload is not JSON: {error}", scan_id(payload)) from None
    if not isinstance(document, dict):
        raise PayloadError("payload is not a JSON object")
    return document


def request_id(document: dict[str, Any], payload: bytes = b"") -> str:
    """The id to echo: a string as it is, an integer in digits, "" for anything else.

    Of an integer beyond 64 bits the parser keeps 17 digits; `payload`, where it is given, still has them all.
    """
    value = document.get("id")
    if type(value) is str:  # as nearly all are: a match over types takes 0.5 us
        return value
    match value:
        case bool():
            return ""
        case int(number):
            return str(number)
        case float(number) if number.is_integer():
            text = scan_id(payload)
            return text if _INTEGER.fullmatch(text) and float(text) == number else str(int(number))
        case _:
            return ""


def scan_id(payload: bytes, *, is_whole: bool = True) -> str:
    """An id in a payload that is no JSON, so that the sender can match the reply; "" where none is found.

    Digits at the end of a payload that is not whole are none: more of them may have followed.
    """
    found = _ID_IN_TEXT.search(payload)
    if found is None or (not is_whole and found.end() == len(payload) and found[2] is not None):
        return ""
    return (found[1] if found[1] is not None else found[2]).decode("utf-8", "ignore")


def encode_reply(request: str, code: Code, message: str = "", data: Any = None) -> bytes:
    """A reply; `message` is left out where it is empty, as in the documents' samples."""
    if code is _SUCCESS and not message and data is None:
        return _SUCCESS_REPLY % orjson.dumps(request)
    reply: dict[str, Any] = {"id": request, "code": int(code), "data": {} if data is None else data}
    if message:
        reply["message"] = message
    return orjson.dumps(reply)


def is_set(value: object) -> TypeGuard[Any]:
    """Whether an optional field holds something: `null` and "" count as absent."""
    return value is not None and value != ""


def parse_flag(value: object) -> bool:
    """A flag of a batch; the Python SDK sends "" for one that is not set."""
    return value is True


def parse_time(value: float | None, received: int) -> int:
    """Epoch milliseconds of a point.

    Absent: the receive time. A fractional number below 1e11 is seconds, other fractions are cut. The cut is
    made on the decimal text, so that 1795221525.13 seconds never become 129 milliseconds.
    """
    if value is None:
        return received
    if isinstance(value, int):
        return value
    if value.is_integer():
        return int(value)
    exact = Decimal(repr(value))
    return int(exact * 1000) if value < _SECONDS_BELOW else int(exact)
