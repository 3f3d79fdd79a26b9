"""Events: what happened to a device, told by itself or by a third party over the integration channel.

All or nothing: one event that the model lacks, a member of it that is missing, unknown or does not match, refuses the
message with 1204. `method` is not looked at: the Python SDK sends a text that names no event.
"""

from __future__ import annotations

from typing import Any

from enos_ingest.devices.changes import EventReported
from enos_ingest.models.validator import CompiledModel, within_int64
from enos_ingest.protocol.codes import Code
from enos_ingest.protocol.topics import Family
from enos_ingest.schema import shorten
from enos_ingest.uplinks.route import Accepted, Refusal, Request, Route, World
from enos_ingest.uplinks.subject import (
    COMMON_CODES,
    Path,
    channel_device,
    check_channel,
    fact_time,
    fault,
    known_model,
    speaking_device,
)

__all__ = ["ROUTES", "post", "post_integration"]


def post(request: Request, world: World) -> Accepted:
    """`thing/event/{eventId}/post`: one event of one device."""
    event = request.topic.action.split("/")[2]
    params = request.document["params"]
    path: Path = ("params",)
    time = fact_time(params, path, request, world)
    device = speaking_device(request, world)
    model = known_model(device, path, world)
    fields = _checked(event, params["events"], (*path, "events"), model)
    return Accepted(changes=(EventReported(device, event, time, fields, "post", request.received),))


def post_integration(request: Request, world: World) -> Accepted:
    """`/sys/{productKey}/integration/event/post`: events of a product's devices, several of one time in an item."""
    items = request.document["params"]
    times = []
    for index, item in enumerate(items):
        path = ("params", index)
        times.append(fact_time(item, path, request, world))
        _check_shape(item["events"], (*path, "events"))
    check_channel(request)
    changes = []
    for index, (item, time) in enumerate(zip(items, times, strict=True)):
        path = ("params", index)
        device = channel_device(item, path, request, world)
        model = known_model(device, path, world)
        for event, sent in item["events"].items():
            fields = _checked(event, sent, (*path, "events", event), model)
            changes.append(EventReported(device, event, time, fields, "integration", request.received))
    return Accepted(changes=tuple(changes))


ROUTES = (
    Route(Family.DEVICE, "thing/event/+/post", "event-post", COMMON_CODES, post),
    Route(Family.INTEGRATION, "event/post", "integration-event-post", COMMON_CODES, post_integration),
)


def _check_shape(events: dict[str, Any], path: Path) -> None:
    """That each is an object: the schema would look for the faults of all of them, and there may be 40 000."""
    for event, fields in events.items():
        if not isinstance(fields, dict):
            raise fault(Code.PAYLOAD_FORMAT_ERROR, (*path, shorten(event)), "expected an object")


def _checked(event: str, fields: dict[str, Any], path: Path, model: CompiledModel) -> dict[str, Any]:
    """What an event carries, matching the model, as it is stored."""
    known = model.event(event)
    if known is None:
        raise Refusal(Code.MODEL_VALIDATE_FAILED, f"event {shorten(event)} is unknown")
    found = known.fault(fields, path)
    if found is not None:
        raise Refusal(Code.MODEL_VALIDATE_FAILED, str(found))
    return {name: within_int64(value) for name, value in fields.items()}
