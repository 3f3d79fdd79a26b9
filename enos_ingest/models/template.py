"""A thing model as a device reads it: the `data` of the reply to `thing/tsltemplate/get`.

The shape is the one that EnOS documents for it, older than that of the REST API in which models are loaded: a bound is
`minimum` with a flag `exclusiveMinimum` beside it, `accessMode` is a flag, names are texts of the default language.
`dataType` and `dataDefinition` are added, as the REST API has them: without them a device could not tell the types.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from enos_ingest.models.document import ThingModel, default_text, inputs_of
from enos_ingest.models.value_type import Member, ValueType

__all__ = ["describe"]

_INT32 = (-(2**31), 2**31 - 1)


def describe(model: ThingModel) -> dict[str, Any]:
    """All that a model says of itself.

    Nothing is inherited: a model file holds all that there is. Who made it and when no file tells, so `extraInfo` is
    empty.
    """
    document = model.document
    return {
        "tslModelId": model.model_id,
        "tslModelName": model.name,
        "tslModelDesc": default_text(document.get("desc")),
        "tslModelCatagory": default_text(document.get("category")),
        "tslAttributeMap": {
            identifier: _value(member, _entry(document, "attributes", identifier), writable=True)
            for identifier, member in model.attributes.items()
        },
        "tslMeasurepointMap": {
            identifier: _value(
                Member(identifier, point.type),
                _entry(document, "measurepoints", identifier),
                writable=point.writable,
                has_quality=point.has_quality,
            )
            for identifier, point in model.measurepoints.items()
        },
        "tslServiceMap": {
            identifier: _service(model, identifier, _entry(document, "services", identifier))
            for identifier in model.services
        },
        "tslEventMap": {
            identifier: _event(model, identifier, _entry(document, "events", identifier)) for identifier in model.events
        },
        "tag": _tags(document),
        "allowAdditionalAttribute": False,
        "inheritedAttributeIds": [],
        "inheritedMeasurepointIds": [],
        "inheritedServiceIds": [],
        "inheritedEventIds": [],
        "extraInfo": {},
    }


def _entry(document: Mapping[str, Any], kind: str, identifier: str) -> Mapping[str, Any]:
    entry: Mapping[str, Any] = document[kind][identifier]
    return entry


def _service(model: ThingModel, identifier: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    service = model.services[identifier]
    return {
        **_names(identifier, entry),
        "required": False,
        "callType": service.call_type,
        "inputData": _values(service.inputs, entry[inputs_of(entry)]),
        "outputData": _values(service.outputs, entry["outputData"]),
    }


def _event(model: ThingModel, identifier: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    event = model.events[identifier]
    return {
        **_names(identifier, entry),
        "required": False,
        "eventType": event.event_type,
        "outputData": _values(event.outputs, entry["outputData"]),
    }


def _values(members: Sequence[Member], entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [_value(member, entry, writable=False) for member, entry in zip(members, entries, strict=True)]


def _value(member: Member, entry: Mapping[str, Any], *, writable: bool, has_quality: bool = False) -> dict[str, Any]:
    """What has a type: an attribute, a measurement point, an input or an output."""
    value = {
        **_names(member.identifier, entry),
        "dataType": member.type.data_type,
        "dataDefinition": entry["dataDefinition"] or None,
        **_bounds(member.type),
        "hasQuality": has_quality,
        "required": member.required,
        "accessMode": writable,
    }
    unit = entry.get("unit")
    if unit:
        value["unit"] = dict(unit) if isinstance(unit, Mapping) else {"unitId": unit, "multiplier": "ONE"}
    if entry.get("defaultValue") is not None:
        value["defaultValue"] = entry["defaultValue"]
    return value


def _names(identifier: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "identifier": identifier,
        "name": default_text(entry.get("name")),
        "desc": default_text(entry.get("desc")),
        "tags": _tags(entry),
    }


def _tags(entry: Mapping[str, Any]) -> dict[str, Any]:
    tags = entry.get("tags")
    return {"tagMap": dict(tags) if isinstance(tags, Mapping) else {}}


def _bounds(kind: ValueType) -> dict[str, Any]:
    """The bounds of a number, None for none; an INT without any has those of its 32 bits."""
    if kind.data_type not in ("INT", "FLOAT", "DOUBLE"):
        return {}
    least, greatest = _INT32 if kind.data_type == "INT" else (None, None)
    minimum, is_over = _bound(kind.minimum, kind.exclusive_minimum, max)
    maximum, is_under = _bound(kind.maximum, kind.exclusive_maximum, min)
    return {
        "minimum": least if minimum is None else minimum,
        "maximum": greatest if maximum is None else maximum,
        "exclusiveMinimum": is_over,
        "exclusiveMaximum": is_under,
    }


def _bound(
    included: float | None, excluded: float | None, narrower: Callable[[float, float], float]
) -> tuple[float | None, bool]:
    """The one of two bounds that counts, and whether it is excluded itself."""
    if included is None or excluded is None:
        return (included, False) if excluded is None else (excluded, True)
    return narrower(included, excluded), narrower(included, excluded) == excluded
