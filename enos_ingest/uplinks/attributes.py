"""Attributes: what a device is, one value each, the last one counts.

A device sets, asks for and deletes its own; a third party sets them over the integration channel. All or nothing: one
attribute that the model lacks, or a value that does not match it, refuses the message with 1204.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from enos_ingest.devices.changes import AttributesDeleted, AttributesSet, FactsWanted
from enos_ingest.models.validator import CompiledModel, within_int64
from enos_ingest.protocol.codes import Code
from enos_ingest.protocol.topics import Family
from enos_ingest.uplinks.route import Accepted, Refusal, Request, Route, World
from enos_ingest.uplinks.subject import (
    COMMON_CODES,
    Path,
    channel_device,
    check_channel,
    fault,
    known_model,
    speaking_device,
)

__all__ = ["ROUTES", "delete", "post_integration", "query", "update"]

_AT_ONCE = 200
"""So many attributes may be set at a time: what EnOS documents."""


def update(request: Request, world: World) -> Accepted:
    """`thing/attribute/update`: values in place of those that the device's attributes had."""
    given = list(_listed(request.document["params"]))
    _check_count([attributes for _, attributes in given], ("params",))
    device = speaking_device(request, world)
    model = known_model(device, ("params",), world)
    values: dict[str, Any] = {}
    for path, attributes in given:
        values |= _checked(attributes, path, model)
    return Accepted(changes=(AttributesSet(device, values, request.received, "post"),) if values else ())


def query(request: Request, world: World) -> Accepted:
    """`thing/attribute/query`: the values of some attributes, or of all that have one."""
    device = speaking_device(request, world)
    names = _known_names(request.document["params"].get("attributes") or (), known_model(device, ("params",), world))
    return Accepted(wanted=FactsWanted("attributes", device, names))


def delete(request: Request, world: World) -> Accepted:
    """`thing/attribute/delete`: attributes that have no value any more; one that had none is as well."""
    device = speaking_device(request, world)
    names = _known_names(request.document["params"]["attributes"], known_model(device, ("params",), world))
    return Accepted(changes=(AttributesDeleted(device, names),) if names else ())


def post_integration(request: Request, world: World) -> Accepted:
    """`/sys/{productKey}/integration/attribute/post`: attributes of a product's devices, from a third party."""
    items = request.document["params"]
    for index, item in enumerate(items):
        _check_count([item["attributes"]], ("params", index, "attributes"))
    check_channel(request)
    changes = []
    for index, item in enumerate(items):
        path = ("params", index)
        device = channel_device(item, path, request, world)
        values = _checked(item["attributes"], (*path, "attributes"), known_model(device, path, world))
        if values:
            changes.append(AttributesSet(device, values, request.received, "integration"))
    return Accepted(changes=tuple(changes))


ROUTES = (
    Route(Family.DEVICE, "thing/attribute/update", "attribute-update", COMMON_CODES, update),
    Route(Family.DEVICE, "thing/attribute/query", "attribute-query", COMMON_CODES, query),
    Route(Family.DEVICE, "thing/attribute/delete", "attribute-delete", COMMON_CODES, delete),
    Route(Family.INTEGRATION, "attribute/post", "integration-attribute-post", COMMON_CODES, post_integration),
    # As older documents have it.
    Route(Family.INTEGRATION, "attributes/post", "integration-attribute-post", COMMON_CODES, post_integration),
)


def _listed(params: dict[str, Any] | list[dict[str, Any]]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The attributes of an update, each object with its path: the documents' sample has an array of what is one."""
    if isinstance(params, dict):
        yield ("params", "attributes"), params["attributes"]
    else:
        for index, item in enumerate(params):
            yield ("params", index, "attributes"), item["attributes"]


def _check_count(given: list[dict[str, Any]], path: Path) -> None:
    if sum(map(len, given)) > _AT_ONCE:
        raise fault(Code.PAYLOAD_FORMAT_ERROR, path, f"at most {_AT_ONCE} attributes at a time")


def _checked(attributes: dict[str, Any], path: Path, model: CompiledModel) -> dict[str, Any]:
    """Attributes that match the model, as they are stored."""
    found = model.attributes.fault(attributes, path)
    if found is not None:
        raise Refusal(Code.MODEL_VALIDATE_FAILED, str(found))
    return {name: within_int64(value) for name, value in attributes.items()}


def _known_names(names: list[str] | tuple[()], model: CompiledModel) -> tuple[str, ...]:
    """Each name once; all of them are attributes of the model."""
    for index, name in enumerate(names):
        if name not in model.attributes:
            raise fault(Code.MODEL_VALIDATE_FAILED, ("params", "attributes", index), "unknown")
    return tuple(dict.fromkeys(names))
