"""The thing model as EnOS writes it down, read into what the checks of values need."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

import jsonschema
import orjson

from enos_ingest.errors import ModelError, SchemaError
from enos_ingest.models.spelling import misspelt_member
from enos_ingest.models.value_type import Member, ValueType, read_value_type
from enos_ingest.schema import Schema, load_schema, shorten

__all__ = ["Event", "Measurepoint", "Service", "ThingModel", "default_text", "inputs_of", "parse_thing_model"]

_Path: TypeAlias = tuple[str | int, ...]

_NO_LEVEL = re.compile(r"[/+#\0]")
"""What the name of a service or event must not hold, as it is a level of an MQTT topic."""

_SCHEMA = Schema(load_schema("thing-model"))
_ORACLE = jsonschema.Draft202012Validator(_SCHEMA.document)


@dataclass(frozen=True, slots=True)
class Measurepoint:
    """One measurement point; `name` and `unit` (its unitId) are for people, "" where the model has none.

    `writable` is whether business software may set it; `translations` are its names by locale.
    """

    identifier: str
    type: ValueType
    has_quality: bool = False
    name: str = ""
    unit: str = ""
    writable: bool = True
    translations: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> dict[str, Any] | None:
        """Its names as a StringI18n, None where it has none."""
        return _title(self.name, self.translations)


@dataclass(frozen=True, slots=True)
class Service:
    """What business software may have a device do; `call_type` is SYNC or ASYNC, "" where the model does not say.

    An input is required unless the model says `required: false`, an output only where it says `required: true`.
    """

    identifier: str
    inputs: tuple[Member, ...] = ()
    outputs: tuple[Member, ...] = ()
    call_type: str = ""
    name: str = ""
    translations: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> dict[str, Any] | None:
        """Its names as a StringI18n, None where it has none."""
        return _title(self.name, self.translations)


@dataclass(frozen=True, slots=True)
class Event:
    """What a device may tell of; `event_type` is INFO, WARN or ERROR, "" where the model does not say.

    An output, which an event carries, is required only where the model says `required: true`.
    """

    identifier: str
    outputs: tuple[Member, ...] = ()
    event_type: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class ThingModel:
    """A thing model; `source` is the file, or whatever else, that it was read from.

    An attribute is `required` where the model has `isRequired`: of the device as a whole, not of each message.
    `document` is what was read, with each `dataDefinition` an object: it holds also what devices ask for and no check
    needs.
    """

    model_id: str
    measurepoints: Mapping[str, Measurepoint]
    source: str
    name: str = ""
    services: Mapping[str, Service] = field(default_factory=dict)
    attributes: Mapping[str, Member] = field(default_factory=dict)
    events: Mapping[str, Event] = field(default_factory=dict)
    document: Mapping[str, Any] = field(default_factory=dict, repr=False)


def parse_thing_model(document: object, source: str) -> ThingModel:
    """Read a thing model in the shape of the EnOS REST API; raises ModelError for the first fault.

    Args:
        document: the JSON document; a `dataDefinition` in it may be a JSON text.
        source: what to call it in errors, usually its file.
    """
    try:
        _check_shape(document)
        decoded = _decode_definitions(document)
        _check_shape(decoded)
        _check_spelling(decoded)
        points = {
            identifier: _measurepoint(identifier, entry, ("measurepoints", identifier))
            for identifier, entry in decoded["measurepoints"].items()
        }
        services = {
            identifier: _service(identifier, entry, ("services", identifier))
            for identifier, entry in decoded["services"].items()
        }
        attributes = {
            identifier: _attribute(identifier, entry, ("attributes", identifier))
            for identifier, entry in decoded["attributes"].items()
        }
        events = {
            identifier: _event(identifier, entry, ("events", identifier))
            for identifier, entry in decoded["events"].items()
        }
    except SchemaError as error:
        raise ModelError(source, error.expectation, error.path) from None
    name = default_text(decoded.get("name"))
    return ThingModel(
        decoded["modelId"],
        MappingProxyType(points),
        source,
        name,
        MappingProxyType(services),
        MappingProxyType(attributes),
        MappingProxyType(events),
        MappingProxyType(decoded),
    )


def _check_shape(document: object) -> None:
    _SCHEMA.check(document)
    for error in _ORACLE.iter_errors(document):
        raise SchemaError(tuple(error.absolute_path), shorten(error.message, 120))


def _check_spelling(decoded: dict[str, Any]) -> None:
    fault = misspelt_member(decoded)
    if fault is not None:
        raise fault


def _decode_definitions(document: Any) -> Any:
    """The document with each `dataDefinition` an object, also those of the members of structs and of parameters."""
    points = {
        identifier: _decode_definition(entry, ("measurepoints", identifier))
        for identifier, entry in document["measurepoints"].items()
    }
    services = {
        identifier: _decode_service(entry, ("services", identifier))
        for identifier, entry in (document.get("services") or {}).items()
    }
    attributes = {
        identifier: _decode_definition(entry, ("attributes", identifier))
        for identifier, entry in (document.get("attributes") or {}).items()
    }
    events = {
        identifier: {**entry, "outputData": _decode_parameters(entry.get("outputData"), _outputs(identifier))}
        for identifier, entry in (document.get("events") or {}).items()
    }
    return {**document, "measurepoints": points, "services": services, "attributes": attributes, "events": events}


def _outputs(event: str) -> _Path:
    return ("events", event, "outputData")


def _decode_service(entry: dict[str, Any], path: _Path) -> dict[str, Any]:
    """A service with the definitions of its inputs and outputs decoded, lists both."""
    names = (inputs_of(entry), "outputData")
    return {**entry, **{name: _decode_parameters(entry.get(name), (*path, name)) for name in names}}


def inputs_of(entry: Mapping[str, Any]) -> str:
    """How a service spells its inputs: a table of EnOS's documents has `intputData`, the sample beside it has not."""
    return "intputData" if entry.get("inputData") is None and entry.get("intputData") is not None else "inputData"


def _decode_parameters(parameters: list[dict[str, Any]] | None, path: _Path) -> list[dict[str, Any]]:
    return [_decode_definition(entry, (*path, index)) for index, entry in enumerate(parameters or ())]


def _decode_definition(entry: dict[str, Any], path: _Path) -> dict[str, Any]:
    path = (*path, "dataDefinition")
    definition = _decoded(entry.get("dataDefinition"), path)
    members = definition.get("items")
    if isinstance(members, list):
        items = [_decode_member(member, (*path, "items", index)) for index, member in enumerate(members)]
        definition = {**definition, "items": items}
    return {**entry, "dataDefinition": definition}


def _decode_member(member: object, path: _Path) -> object:
    """A member of a struct with its definition decoded; what is no object is left for the schema to refuse."""
    if not isinstance(member, dict):
        return member
    return {**member, "dataDefinition": _decoded(member.get("dataDefinition"), (*path, "dataDefinition"))}


def _decoded(definition: object, path: _Path) -> dict[str, Any]:
    """A definition as an object; empty for null and for an empty text."""
    if isinstance(definition, str):
        try:
            definition = orjson.loads(definition or "null")
        except orjson.JSONDecodeError as error:
            raise SchemaError(path, f"not JSON: {error}") from None
    if not isinstance(definition, dict | None):
        raise SchemaError(path, "expected an object, or a JSON text that holds one")
    return definition or {}


def _measurepoint(identifier: str, entry: dict[str, Any], path: _Path) -> Measurepoint:
    _check_identifier(identifier, entry, path)
    unit = entry.get("unit")
    return Measurepoint(
        identifier,
        read_value_type(entry, path),
        has_quality=bool(entry.get("hasQuality")),
        name=default_text(entry.get("name")),
        unit=str((unit.get("unitId") if isinstance(unit, dict) else unit) or ""),
        writable="w" in (entry.get("accessMode") or "rw").lower(),
        translations=_translations(entry.get("name")),
    )


def _attribute(identifier: str, entry: dict[str, Any], path: _Path) -> Member:
    _check_identifier(identifier, entry, path)
    return Member(identifier, read_value_type(entry, path), required=bool(entry.get("isRequired")))


def _event(identifier: str, entry: dict[str, Any], path: _Path) -> Event:
    _check_identifier(identifier, entry, path)
    if _NO_LEVEL.search(identifier):
        raise SchemaError(path, "an event cannot have / + # or NUL in its name, which is part of a topic")
    return Event(
        identifier,
        tuple(_parameters(entry["outputData"], _outputs(identifier), required=False)),
        event_type=(entry.get("eventType") or "").upper(),
        name=default_text(entry.get("name")),
    )


def _service(identifier: str, entry: dict[str, Any], path: _Path) -> Service:
    _check_identifier(identifier, entry, path)
    if identifier.endswith("_reply"):
        raise SchemaError(path, "a service cannot end in _reply: that is the topic of its answers")
    if _NO_LEVEL.search(identifier):
        raise SchemaError(path, "a service cannot have / + # or NUL in its name, which is part of a topic")
    inputs = inputs_of(entry)
    return Service(
        identifier,
        tuple(_parameters(entry[inputs], (*path, inputs), required=True)),
        tuple(_parameters(entry["outputData"], (*path, "outputData"), required=False)),
        call_type=(entry.get("callType") or "").upper(),
        name=default_text(entry.get("name")),
        translations=_translations(entry.get("name")),
    )


def _check_identifier(identifier: str, entry: dict[str, Any], path: _Path) -> None:
    if entry.get("identifier") not in {None, identifier}:
        raise SchemaError((*path, "identifier"), f"expected the key it stands under, {shorten(identifier)}")


def _parameters(entries: list[dict[str, Any]], path: _Path, *, required: bool) -> Iterator[Member]:
    """Inputs or outputs of a service, outputs of an event; `required` is what holds for those that do not say."""
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        at = (*path, index)
        identifier = entry["identifier"]
        if identifier in seen:
            raise SchemaError((*at, "identifier"), f"a second {shorten(identifier)}")
        seen.add(identifier)
        said = entry.get("required")
        yield Member(identifier, read_value_type(entry, at), required=required if said is None else said)


def default_text(text: Any) -> str:
    """A StringI18n in its default language."""
    return str((text.get("defaultValue") if isinstance(text, dict) else text) or "")


def _translations(text: Any) -> dict[str, str]:
    """The names of a StringI18n by locale; what is no name is left out."""
    names = (text.get("i18nValue") if isinstance(text, dict) else None) or {}
    return {locale: name for locale, name in names.items() if isinstance(name, str)}


def _title(name: str, translations: Mapping[str, str]) -> dict[str, Any] | None:
    if not name and not translations:
        return None
    return {"defaultValue": name, "i18nValue": dict(translations)}
