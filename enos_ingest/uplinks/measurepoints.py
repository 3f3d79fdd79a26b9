"""Reports of measurement points: post and resume, alone and in batch, and the integration channel's post.

What a device reports of now and what it reports of the past differ in their topics and in the origin of their points
alone. All follow one table of checks; the first fault that occurs answers for the whole message. The envelope is
checked before a handler is called; then items are taken in order, each through all checks before the next:

    the device is known to the channel's product               1257 (1206 without a device key)
    the publisher may speak for the topic's device, and
    the item's device is the topic's or the publisher's sub    1212
    a device that belongs to a gateway is online               1212, waived by allowOfflineSubDevice
    each point is in the thing model and its value matches     1204, waived by skipInvalidMeasurepoints
"""

from __future__ import annotations

from typing import Any

from enos_ingest.errors import SchemaError
from enos_ingest.models.validator import UNSPLIT, CompiledModel
from enos_ingest.outcome import Point
from enos_ingest.protocol.codes import Code
from enos_ingest.protocol.identity import Channel, DeviceId
from enos_ingest.protocol.messages import is_set, parse_flag, parse_time
from enos_ingest.protocol.topics import Family
from enos_ingest.uplinks.route import Accepted, FaultCodes, Refusal, Request, Route, World
from enos_ingest.uplinks.subject import Path, check_online, fault, known_model

__all__ = ["ROUTES", "post", "post_batch", "post_integration", "resume", "resume_batch"]

_PARAMS: Path = ("params",)

_new = tuple.__new__

_REASONS = 20
"""How many skipped points are explained, some milliseconds each at the worst; the payload beside it has them all."""

_CODES = FaultCodes(*[Code.DATA_FORMAT_ERROR] * 4)
"""These topics know one code for everything that is no such request."""


def post(request: Request, world: World) -> Accepted:
    """`/sys/{productKey}/{deviceKey}/thing/measurepoint/post`: one device, now."""
    return _report(request, world, "post")


def post_batch(request: Request, world: World) -> Accepted:
    """`.../post/batch`: several devices, with the flags of the batch topics."""
    return _report_batch(request, world, "post")


def resume(request: Request, world: World) -> Accepted:
    """`/sys/{productKey}/{deviceKey}/thing/measurepoint/resume`: one device, at one time of the past."""
    return _report(request, world, "resume")


def resume_batch(request: Request, world: World) -> Accepted:
    """`.../resume/batch`: several devices or times of the past, with the flags of the batch topics."""
    return _report_batch(request, world, "resume")


def post_integration(request: Request, world: World) -> Accepted:
    """`/sys/{productKey}/integration/measurepoint/post`: a third party's data, presence does not count."""
    accepted = Accepted()
    items = request.document["params"]
    _check_times(items, request, world)
    product_key = request.topic.owner.product_key
    if request.publisher != request.topic.owner or not isinstance(request.publisher, Channel):
        raise Refusal(Code.NO_SUB_DEVICE_PERMISSION, f"{request.publisher} is not the channel of {product_key}")
    for index, item in enumerate(items):
        path = ("params", index)
        device_key = item.get("deviceKey")
        if not is_set(device_key):
            raise fault(Code.DATA_FORMAT_ERROR, (*path, "deviceKey"), "missing")
        device = DeviceId(product_key, device_key)
        if device not in world.directory.devices:
            raise fault(Code.DEVICE_NOT_FOUND, (*path, "deviceKey"), f"device {device} not found")
        _take_item(item, path, device, known_model(device, path, world), request, accepted, "integration")
    return accepted


ROUTES = (
    Route(Family.DEVICE, "thing/measurepoint/post", "measurepoint-post", _CODES, post),
    Route(Family.DEVICE, "thing/measurepoint/post/batch", "measurepoint-post-batch", _CODES, post_batch),
    Route(Family.DEVICE, "thing/measurepoint/resume", "measurepoint-resume", _CODES, resume),
    Route(Family.DEVICE, "thing/measurepoint/resume/batch", "measurepoint-resume-batch", _CODES, resume_batch),
    Route(Family.INTEGRATION, "measurepoint/post", "integration-measurepoint-post", _CODES, post_integration),
)


def _report(request: Request, world: World, origin: str) -> Accepted:
    """One item, of the topic's device."""
    accepted = Accepted()
    item = request.document["params"]
    if world.max_future_seconds:
        _check_time(item, _PARAMS, request, world)
    device = _topic_device(request, world)
    check_online(device, request, world, _PARAMS)
    _take_item(item, _PARAMS, device, known_model(device, _PARAMS, world), request, accepted, origin)
    return accepted


def _report_batch(request: Request, world: World, origin: str) -> Accepted:
    """Items of the topic's device, and of the publisher's sub-devices."""
    accepted = Accepted()
    items = request.document["params"]
    _check_times(items, request, world)
    topic_device = _topic_device(request, world)
    allow_offline = parse_flag(request.document.get("allowOfflineSubDevice"))
    skip_invalid = parse_flag(request.document.get("skipInvalidMeasurepoints"))
    # What is asked of a device, and not of its points, has the same answer for each of its items.
    models: dict[DeviceId, CompiledModel] = {}
    for index, item in enumerate(items):
        path = ("params", index)
        device = _item_device(item, topic_device)
        model = models.get(device)
        if model is None:
            _check_item_device(device, path, topic_device, request, world)
            if not allow_offline:
                check_online(device, request, world, path)
            model = models[device] = known_model(device, path, world)
        _take_item(item, path, device, model, request, accepted, origin, skip_invalid=skip_invalid)
    return accepted


def _check_times(items: list[dict[str, Any]], request: Request, world: World) -> None:
    if world.max_future_seconds:
        for index, item in enumerate(items):
            _check_time(item, ("params", index), request, world)


def _check_time(item: dict[str, Any], path: Path, request: Request, world: World) -> None:
    """Refuse a time too far in the future; a matter of format, so the whole message's."""
    latest = request.received + world.max_future_seconds * 1000
    if parse_time(item.get("time"), request.received) > latest:
        what = f"more than {world.max_future_seconds:g} seconds in the future"
        raise fault(Code.DATA_FORMAT_ERROR, (*path, "time"), what)


def _topic_device(request: Request, world: World) -> DeviceId:
    """The device of the topic, once it is clear that the publisher may speak for it."""
    owner, publisher = request.topic.owner, request.publisher
    # The route's family says that a device owns the topic; a channel may still have published to it.
    if (
        not isinstance(owner, DeviceId)
        or not isinstance(publisher, DeviceId)
        or not world.directory.may_represent(publisher, owner)
    ):
        raise Refusal(Code.NO_SUB_DEVICE_PERMISSION, f"{publisher} may not report for {owner}")
    if owner not in world.directory.devices:
        raise Refusal(Code.NO_SUB_DEVICE_PERMISSION, f"device {owner} is not registered")
    return owner


def _item_device(item: dict[str, Any], topic_device: DeviceId) -> DeviceId:
    """The device of a batch item; a key that is absent or "" is the topic's, each on its own."""
    product_key, device_key = item.get("productKey"), item.get("deviceKey")
    if not product_key and not device_key:
        return topic_device
    return DeviceId(product_key or topic_device.product_key, device_key or topic_device.device_key)


def _check_item_device(device: DeviceId, path: Path, topic_device: DeviceId, request: Request, world: World) -> None:
    """Refuse an item of a device that is neither the topic's nor a sub-device of the one that speaks."""
    if device != topic_device and device not in world.directory.sub_devices(request.publisher):  # type: ignore[arg-type]
        raise fault(Code.NO_SUB_DEVICE_PERMISSION, path, f"{device} is not a sub-device of {request.publisher}")


def _take_item(
    item: dict[str, Any],
    path: Path,
    device: DeviceId,
    model: CompiledModel,
    request: Request,
    accepted: Accepted,
    origin: str,
    *,
    skip_invalid: bool = False,
) -> None:
    """Check the points of one item and add them to `accepted`."""
    measurepoints = item["measurepoints"]
    if not model.is_valid(measurepoints):
        if not skip_invalid:
            try:
                model.check(measurepoints, (*path, "measurepoints"))
            except SchemaError as fault:
                raise Refusal(Code.MODEL_VALIDATE_FAILED, str(fault)) from None
        measurepoints = _valid_points(measurepoints, (*path, "measurepoints"), model, accepted)
    product_key, device_key = device
    time = parse_time(item.get("time"), request.received)
    points = accepted.points
    # This is done for each of some 100 000 points a second: `split` is called where it could make a difference, and
    # Point(...) itself takes twice as long.
    for identifier, sent in measurepoints.items():
        value, quality = (sent, None) if type(sent) in UNSPLIT else model.split(identifier, sent)
        points.append(_new(Point, (product_key, device_key, identifier, time, value, quality, origin)))


def _valid_points(
    measurepoints: dict[str, Any], path: Path, model: CompiledModel, accepted: Accepted
) -> dict[str, Any]:
    """The points that match the model; the others are counted, and the first few explained, in `accepted`."""
    valid: dict[str, Any] = {}
    for identifier, value in measurepoints.items():
        if model.is_valid({identifier: value}):
            valid[identifier] = value
            continue
        accepted.skipped += 1
        if len(accepted.reasons) < _REASONS:
            accepted.reasons.append(str(model.point_fault(identifier, value, path)))
    return valid
