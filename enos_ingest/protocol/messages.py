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

_ID_IN_TEXT = re.compile(rb'"id"\s*:\s*(?:"([^"\\\x00-\x1f]{0,1024})"|(-?[0-9]{1,1024})(?=[\s,}]|$))')
_INTEGER = re.compile(r"-?[0-9]{1,1024}")
_SECONDS_BELOW = 1e11
"""A fractional time below this is seconds: the Python SDK falls back on `time.time()`."""


def decode_request(payload: bytes, limit: int) -> dict[str, Any]:
    """The JSON object in `payload`.

    Raises:
        PayloadError: it is empty, longer than `limit` bytes, not JSON in UTF-8, or not an object; with the id
            that could still be found.
    """
    if not payload:
        raise PayloadError("payload is empty")
    if len(payload) > limit:
        raise PayloadError(f"payload of {len(payload)} bytes is over the limit of {limit}", scan_id(payload))
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
    match document.get("id"):
        case str(text):
            return text
        case bool():
            return ""
        case int(number):
            return str(number)
        case float(number) if number.is_integer():
            text = scan_id(payload)
            return text if _INTEGER.fullmatch(text) and float(text) == number else str(int(number))
        case _:
            return ""


def scan_id(payload: bytes) -> str:
    """An id in a payload that is no JSON, so that the sender can match the reply; "" where none is found."""
    found = _ID_IN_TEXT.search(payload)
    if found is None:
        return ""
    return (found[1] if found[1] is not None else found[2]).decode("utf-8", "ignore")


def encode_reply(request: str, code: Code, message: str = "", data: dict[str, Any] | None = None) -> bytes:
    """A reply; `message` is left out where it is empty, as in the documents' samples."""
    reply: dict[str, Any] = {"id": request, "code": int(code), "data": data or {}}
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
    if isinstance(value, int) or value.is_integer():
        return int(value)
    exact = Decimal(repr(value))
    return int(exact * 1000) if value < _SECONDS_BELOW else int(exact)
