"""The arguments of a call: the parameters of its query, and its body; anything that is not understood is refused.

A parameter that is misspelt would otherwise count as absent: without `pendingTtl` a command is sent at once, without
`commandId` all of them are canceled.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from enos_ingest.commands.commands import Target
from enos_ingest.commands.refusals import CommandRefusal, RestCode
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.schema import shorten

__all__ = [
    "DEVICE",
    "PENDING_TTL_SECONDS",
    "TIMEOUT_SECONDS",
    "read_object",
    "read_parameters",
    "read_seconds",
    "read_target",
    "require",
]

DEVICE = ("assetId", "productKey", "deviceKey")
"""The parameters that name a device."""

TIMEOUT_SECONDS = range(1, 61)
PENDING_TTL_SECONDS = range(172_801)
"""Two days."""

_DIGITS = 9
"""More of them are no number of seconds; Python takes its time with thousands."""


def read_parameters(query: Iterable[tuple[str, str]], known: Sequence[str]) -> dict[str, str]:
    """The parameters of a query, each of them known, given once and not empty; raises `BAD_ARGUMENT`.

    Args:
        query: names and values, decoded.
        known: the names that the call takes.
    """
    parameters: dict[str, str] = {}
    for name, value in query:
        if name not in known:
            raise _bad(f"unknown parameter {shorten(name)}{_nearest(name, known)}")
        if name in parameters:
            raise _bad(f"{name} is given more than once")
        if not value:
            raise _bad(f"{name} is empty")
        parameters[name] = value
    return parameters


def require(parameters: Mapping[str, str], name: str) -> str:
    """A parameter that must be given; raises `BAD_ARGUMENT` where it is not."""
    value = parameters.get(name)
    if value is None:
        raise _bad(f"{name} is missing")
    return value


def read_seconds(parameters: Mapping[str, str], name: str, allowed: range, default: int) -> int:
    """A parameter that is a whole number of seconds; raises `BAD_ARGUMENT` for any other text."""
    text = parameters.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > _DIGITS or int(text) not in allowed:
        raise _bad(
            f"{name} is {shorten(text)}: expected a whole number of seconds from {allowed.start} to {allowed.stop - 1}"
        )
    return int(text)


def read_target(parameters: Mapping[str, str]) -> Target | None:
    """The device that a call names, None where it names none; raises `BAD_ARGUMENT` for one key without the other."""
    asset_id, product_key, device_key = (parameters.get(name) for name in DEVICE)
    if product_key is None and device_key is None:
        return None if asset_id is None else Target(asset_id)
    if product_key is None or device_key is None:
        absent = "productKey" if product_key is None else "deviceKey"
        raise _bad(f"{absent} is missing: a device is named by productKey and deviceKey, or by assetId")
    return Target(asset_id, DeviceId(product_key, device_key))


def read_object(body: bytes, known: Sequence[str], example: str) -> dict[str, Any]:
    """The JSON object that a body is; raises `BAD_ARGUMENT` for any other body.

    Args:
        known: the members that it may have.
        example: an object as it should be.
    """
    if not body:
        raise _bad(f"the body is empty: expected a JSON object such as {example}")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _bad(f"the body is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise _bad(f"the body is not a JSON object such as {example}")
    for name in document:
        if name not in known:
            raise _bad(f"unknown member {shorten(name)} in the body{_nearest(name, known)}")
    return document


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name[:100], known, n=1, cutoff=0.6)
    return f": did you mean {near[0]}?" if near else f": expected {', '.join(known)}"


def _bad(message: str) -> CommandRefusal:
    return CommandRefusal(RestCode.BAD_ARGUMENT, message)
