"""The types of values in a thing model: of measurement points, attributes, and what services and events carry."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from enos_ingest.errors import SchemaError
from enos_ingest.schema import shorten

__all__ = ["DataType", "Member", "ValueType", "read_value_type"]

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
    """A member of a struct, never a struct itself; or an attribute, an input or an output, of any type."""

    identifier: str
    type: ValueType
    required: bool = False


def read_value_type(entry: dict[str, Any], path: _Path) -> ValueType:
    """What an entry with a `dataType`, and a `dataDefinition` that is decoded, takes; raises SchemaError."""
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
        yield Member(identifier, read_value_type(item, at), required=bool(item.get("required")))
