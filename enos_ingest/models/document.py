"""The thing model as EnOS writes it down, read into what the checks of values need."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args

import jsonschema
import orjson

from enos_ingest.errors import ModelError, SchemaError
from enos_ingest.schema import Schema, load_schema, shorten

__all__ = ["DataType", "Measurepoint", "Member", "Service", "ThingModel", "ValueType", "parse_thing_model"]

DataType: TypeAlias = Literal[
    "ARRAY", "BOOL", "DATE", "DOUBLE", "ENUM", "FILE", "FLOAT", "INT", "STRING", "STRUCT", "TIMESTAMP"
]

_Path: TypeAlias = tuple[str | int, ...]

_TYPES: Mapping[str, DataType] = {name.lower(): name for name in get_args(DataType)} | {
    "boolean": "BOOL",
    "datetime": "TIMESTAMP",
    "integer": "INT",
    "object": "STRUCT",
}
"""The names of the model API, and those of the newer modelling tool that differ."""

_ITEM_TYPES: frozenset[DataType] = frozenset({"BOOL", "DATE", "DOUBLE", "FILE", "FLOAT", "INT", "STRING", "TIMESTAMP"})
"""The types that say all by their name: an array's definition has no room for more."""

_INT32 = range(-(2**31), 2**31)

_INTEGER = re.compile(r"-?[1-9][0-9]*|0")

_NO_LEVEL = re.compile(r"[/+#\0]")
"""What the name of a service must not hold, as it is a level of an MQTT topic."""

_SCHEMA = Schema(load_schema("thing-model"))
_ORACLE = jsonschema.Draft202012Validator(_SCHEMA.document)


@dataclass(frozen=True, slots=True)
class ValueType:
    """What values a measurement point, or a member of a struct, takes.

    `minimum` to `exclusive_maximum` are for INT, FLOAT and DOUBLE; `max_length` in characters for STRING and for the
    items of an ARRAY of STRING; `choices` for ENUM; `item_type` for ARRAY; `members` for STRUCT.
    """

    data_type: DataType
    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: float | None = None
    exclusive_maximum: float | None = None
    max_length: int | None = None
    choices: tuple[int | str, ...] = ()
    item_type: DataType | None = None
    members: tuple[Member, ...] = ()


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a struct, never a struct itself; or an input or output of a service, of any type."""

    identifier: str
    type: ValueType
    required: bool = False


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
class ThingModel:
    """A thing model; `source` is the file, or whatever else, that it was read from."""

    model_id: str
    measurepoints: Mapping[str, Measurepoint]
    source: str
    name: str = ""
    services: Mapping[str, Service] = field(default_factory=dict)


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
        points = {
            identifier: _measurepoint(identifier, entry, ("measurepoints", identifier))
            for identifier, entry in decoded["measurepoints"].items()
        }
        services = {
            identifier: _service(identifier, entry, ("services", identifier))
            for identifier, entry in decoded["services"].items()
        }
    except SchemaError as error:
        raise ModelError(source, error.expectation, error.path) from None
    name = _text(decoded.get("name"))
    return ThingModel(decoded["modelId"], MappingProxyType(points), source, name, MappingProxyType(services))


def _check_shape(document: object) -> None:
    _SCHEMA.check(document)
    for error in _ORACLE.iter_errors(document):
        raise SchemaError(tuple(error.absolute_path), shorten(error.message, 120))


def _decode_definitions(document: Any) -> Any:
    """The document with each `dataDefinition` an object, also those of the members of structs, and its services."""
    points = {
        identifier: _decode_definition(entry, ("measurepoints", identifier))
        for identifier, entry in document["measurepoints"].items()
    }
    services = {
        identifier: _decode_service(entry, ("services", identifier))
        for identifier, entry in (document.get("services") or {}).items()
    }
    return {**document, "measurepoints": points, "services": services}


def _decode_service(entry: dict[str, Any], path: _Path) -> dict[str, Any]:
    """A service with the definitions of its inputs and outputs decoded, lists both."""
    names = (_inputs(entry), "outputData")
    return {**entry, **{name: _decode_parameters(entry.get(name), (*path, name)) for name in names}}


def _inputs(entry: dict[str, Any]) -> str:
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
    if entry.get("identifier") not in {None, identifier}:
        raise SchemaError((*path, "identifier"), f"expected the key it stands under, {shorten(identifier)}")
    unit = entry.get("unit")
    return Measurepoint(
        identifier,
        _value_type(entry, path),
        has_quality=bool(entry.get("hasQuality")),
        name=_text(entry.get("name")),
        unit=str((unit.get("unitId") if isinstance(unit, dict) else unit) or ""),
        writable="w" in (entry.get("accessMode") or "rw").lower(),
        translations=_translations(entry.get("name")),
    )


def _service(identifier: str, entry: dict[str, Any], path: _Path) -> Service:
    if entry.get("identifier") not in {None, identifier}:
        raise SchemaError((*path, "identifier"), f"expected the key it stands under, {shorten(identifier)}")
    if identifier.endswith("_reply"):
        raise SchemaError(path, "a service cannot end in _reply: that is the topic of its answers")
    if _NO_LEVEL.search(identifier):
        raise SchemaError(path, "a service cannot have / + # or NUL in its name, which is part of a topic")
    inputs = _inputs(entry)
    return Service(
        identifier,
        tuple(_parameters(entry[inputs], (*path, inputs), required=True)),
        tuple(_parameters(entry["outputData"], (*path, "outputData"), required=False)),
        call_type=(entry.get("callType") or "").upper(),
        name=_text(entry.get("name")),
        translations=_translations(entry.get("name")),
    )


def _parameters(entries: list[dict[str, Any]], path: _Path, *, required: bool) -> Iterator[Member]:
    """Inputs or outputs of a service; `required` is what holds for those that do not say."""
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        at = (*path, index)
        identifier = entry["identifier"]
        if identifier in seen:
            raise SchemaError((*at, "identifier"), f"a second {shorten(identifier)}")
        seen.add(identifier)
        said = entry.get("required")
        yield Member(identifier, _value_type(entry, at), required=required if said is None else said)


def _value_type(entry: dict[str, Any], path: _Path) -> ValueType:
    data_type = _data_type(entry["dataType"], (*path, "dataType"))
    definition: dict[str, Any] = entry["dataDefinition"]
    inside = (*path, "dataDefinition")
    match data_type:
        case "INT" | "FLOAT" | "DOUBLE":
            return _number(data_type, entry, definition, path)
        case "STRING":
            return ValueType(data_type, max_length=_max_length(definition))
        case "ENUM":
            return ValueType(data_type, choices=_choices(definition, inside))
        case "ARRAY":
            item_type = _item_type(definition, inside)
            return ValueType(data_type, item_type=item_type, max_length=_max_length(definition))
        case "STRUCT":
            return ValueType(data_type, members=tuple(_members(definition, inside)))
        case _:
            return ValueType(data_type)


def _data_type(name: str, path: _Path) -> DataType:
    if name.lower() == "map":
        raise SchemaError(path, "the type map is not supported: use STRUCT and name its members")
    data_type = _TYPES.get(name.lower())
    if data_type is None:
        known = ", ".join(get_args(DataType))
        raise SchemaError(path, f"unknown type {shorten(name)}: expected one of {known}")
    return data_type


def _number(data_type: DataType, entry: dict[str, Any], definition: dict[str, Any], path: _Path) -> ValueType:
    def bound(name: str) -> float | None:
        outside: float | None = entry.get(name)
        inside: float | None = definition.get(name)
        return inside if outside is None else outside

    kind = ValueType(
        data_type,
        minimum=bound("minimum"),
        maximum=bound("maximum"),
        exclusive_minimum=bound("exclusiveMinimum"),
        exclusive_maximum=bound("exclusiveMaximum"),
    )
    for lower, upper, both_included in (
        (kind.minimum, kind.maximum, True),
        (kind.minimum, kind.exclusive_maximum, False),
        (kind.exclusive_minimum, kind.maximum, False),
        (kind.exclusive_minimum, kind.exclusive_maximum, False),
    ):
        if lower is None or upper is None:
            continue
        if lower > upper or (lower == upper and not both_included):
            raise SchemaError(path, f"no number is allowed between the minimum {lower} and the maximum {upper}")
    return kind


def _max_length(definition: dict[str, Any]) -> int | None:
    length = definition.get("maxLength")
    return None if length is None else int(length)


def _choices(definition: dict[str, Any], path: _Path) -> tuple[int | str, ...]:
    names = definition.get("enumDesc")
    if not names:
        raise SchemaError((*path, "enumDesc"), "expected an object with the values of the ENUM as keys")
    enum_type = _TYPES.get(str(definition.get("enumType")).lower())
    if enum_type == "STRING":
        return tuple(names)
    if enum_type != "INT":
        raise SchemaError((*path, "enumType"), "expected INT or STRING")
    for name in names:
        if not _INTEGER.fullmatch(name) or len(name) > len(str(_INT32.start)) or int(name) not in _INT32:
            raise SchemaError((*path, "enumDesc", name), "as a key: expected an integer of 32 bits")
    return tuple(int(name) for name in names)


def _item_type(definition: dict[str, Any], path: _Path) -> DataType:
    path = (*path, "itemType")
    name = definition.get("itemType")
    if name is None:
        raise SchemaError(path, "missing")
    item_type = _data_type(name, path)
    if item_type not in _ITEM_TYPES:
        raise SchemaError(path, f"expected one of {', '.join(sorted(_ITEM_TYPES))}")
    return item_type


def _members(definition: dict[str, Any], path: _Path) -> Iterator[Member]:
    items = definition.get("items")
    if not items:
        raise SchemaError((*path, "items"), "expected the members of the STRUCT, at least one")
    seen: set[str] = set()
    for index, item in enumerate(items):
        at = (*path, "items", index)
        identifier = item["identifier"]
        if identifier in seen:
            raise SchemaError((*at, "identifier"), f"a second member {shorten(identifier)}")
        seen.add(identifier)
        if _data_type(item["dataType"], (*at, "dataType")) == "STRUCT":
            raise SchemaError((*at, "dataType"), "a STRUCT within a STRUCT is not allowed")
        yield Member(identifier, _value_type(item, at), required=bool(item.get("required")))


def _text(text: Any) -> str:
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
