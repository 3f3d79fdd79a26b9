"""Tags: what people note about a device, a text each; no thing model knows of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from enos_ingest.devices.changes import TAGS_PER_DEVICE, FactsWanted, TagsDeleted, TagsSet
from enos_ingest.protocol.codes import Code
from enos_ingest.protocol.topics import Family
from enos_ingest.uplinks.route import Accepted, Refusal, Request, Route, World
from enos_ingest.uplinks.subject import COMMON_CODES, speaking_device

__all__ = ["ROUTES", "delete", "query", "update"]


def update(request: Request, world: World) -> Accepted:
    """`thing/tag/update`: tags, in place of those of the same keys.

    A value is a text; a number, as the samples of the Python SDK send them, is kept as its text. Only the store knows
    how many the device has: it takes all or none of them, and is asked which.
    """
    device = speaking_device(request, world)
    tags = {item["tagKey"]: _text(item["tagValue"]) for item in request.document["params"]}
    if not tags:
        return Accepted()

    def settle(stored: Mapping[str, Any]) -> Refusal | None:
        if stored == tags:
            return None
        return Refusal(Code.PAYLOAD_FORMAT_ERROR, f"{device} would have more than {TAGS_PER_DEVICE} tags")

    wanted = FactsWanted("tags", device, tuple(tags))
    return Accepted(changes=(TagsSet(device, tags, request.received),), wanted=wanted, settle=settle)


def query(request: Request, world: World) -> Accepted:
    """`thing/tag/query`: some tags, or all; a key that the device does not have is left out."""
    device = speaking_device(request, world)
    return Accepted(wanted=FactsWanted("tags", device, _keys(request)))


def delete(request: Request, world: World) -> Accepted:
    """`thing/tag/delete`: tags that the device has no more; a key that it does not have is as well."""
    device = speaking_device(request, world)
    keys = _keys(request)
    return Accepted(changes=(TagsDeleted(device, keys),) if keys else ())


ROUTES = (
    Route(Family.DEVICE, "thing/tag/update", "tag-update", COMMON_CODES, update),
    Route(Family.DEVICE, "thing/tag/query", "tag-query", COMMON_CODES, query),
    Route(Family.DEVICE, "thing/tag/delete", "tag-delete", COMMON_CODES, delete),
)


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _keys(request: Request) -> tuple[str, ...]:
    """The keys that a request names, each once."""
    return tuple(dict.fromkeys(request.document["params"].get("tags") or ()))
