"""Members of a thing model that are misspelt or misplaced: each would otherwise count as absent.

A model holds more than is read here: members that EnOS documents and nothing needs, and others that an export may have.
They are left alone. Refused is what is unknown and almost the name of a member that decides what is accepted, while
that one is absent: nobody writes `acessMode` for anything else. And what stands beside `dataDefinition` and belongs
into it, or the other way round, where it is read in no place but that. (Bounds are read in both.)
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from enos_ingest.errors import SchemaError
from enos_ingest.schema import fault_at, shorten

__all__ = ["misspelt_member"]

_Path: TypeAlias = tuple[str | int, ...]

_SIMILAR: Final = 0.8
"""How alike two names are, by difflib's measure, that are taken for one: `acessMode` and `accessMode` have 0.95,
`minLength`, which is another member in other schemas, and `maxLength` 0.78."""

_LONGEST: Final = 64
"""Twice as long as any name here; difflib takes its time with long ones."""

_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")

_NUMBERS = frozenset({"double", "float", "int", "integer"})

_DATAPOINT = ("dataType", "dataDefinition")

_DEFINITION = ("maxLength", "enumType", "enumDesc", "itemType", "items")

_DEFINED_BY: Mapping[str, Sequence[str]] = {
    "string": ("maxLength",),
    "enum": ("enumType", "enumDesc"),
    "array": ("itemType",),
    "struct": ("items",),
}
"""What of a definition is read of each type; of others an export may have it anywhere, and nothing is lost."""

_DOCUMENTED = frozenset(
    {
        *("modelId", "modelIdPath", "orgId", "category", "scope", "isStdElement", "stdElementId", "signalType"),
        *("name", "desc", "tags", "unit", "identifier", "defaultValue", "boolDesc", "callType", "eventType"),
        *("attributes", "measurepoints", "services", "events", "inputData", "intputData", "outputData"),
        *("hasQuality", "accessMode", "isRequired", "required", *_DATAPOINT, *_DEFINITION, *_BOUNDS),
    }
)
"""The names that EnOS's documents give to members, wherever they stand: as the kinds of elements share most of them, an
export may well have one where no document does."""

_SHORT: Mapping[str, str] = {"min": "minimum", "max": "maximum"}
"""What other formats call them, too short to look alike."""


def misspelt_member(document: Mapping[str, Any]) -> SchemaError | None:
    """The first misspelt member of a thing model in the right shape, with definitions decoded; None for none."""
    return next(_faults(document), None)


def _faults(document: Mapping[str, Any]) -> Iterator[SchemaError]:
    yield from _within(document, ("attributes", "measurepoints", "services", "events"), ())
    for identifier, entry in document["measurepoints"].items():
        yield from _in_datapoint(entry, ("hasQuality", "accessMode"), ("measurepoints", identifier))
    for identifier, entry in document["attributes"].items():
        yield from _in_datapoint(entry, ("isRequired",), ("attributes", identifier))
    for identifier, entry in document["services"].items():
        yield from _within(entry, ("inputData", "outputData"), ("services", identifier))
        inputs = "intputData" if entry.get("inputData") is None else "inputData"
        for name in (inputs, "outputData"):
            yield from _in_list(entry[name], ("services", identifier, name))
    for identifier, entry in document["events"].items():
        yield from _within(entry, ("outputData",), ("events", identifier))
        yield from _in_list(entry["outputData"], ("events", identifier, "outputData"))


def _in_list(entries: Sequence[Mapping[str, Any]], path: _Path) -> Iterator[SchemaError]:
    """The faults of inputs or outputs."""
    for index, entry in enumerate(entries):
        yield from _in_datapoint(entry, ("required",), (*path, index))


def _in_datapoint(entry: Mapping[str, Any], more: Sequence[str], path: _Path) -> Iterator[SchemaError]:
    """The faults of a point, an attribute, an input or an output, and of the members of a struct that it is."""
    yield from _in_value(entry, more, path)
    members: Sequence[Mapping[str, Any]] = entry["dataDefinition"].get("items") or ()
    for index, member in enumerate(members):
        yield from _in_value(member, ("required",), (*path, "dataDefinition", "items", index))


def _in_value(entry: Mapping[str, Any], more: Sequence[str], path: _Path) -> Iterator[SchemaError]:
    data_type, definition = entry["dataType"].lower(), entry["dataDefinition"]
    bounds = _BOUNDS if data_type in _NUMBERS else ()
    yield from _within(entry, (*more, *_DATAPOINT, *bounds), path)
    yield from _within(definition, (*_DEFINITION, *bounds), (*path, "dataDefinition"))
    inner = _DEFINED_BY.get(data_type, ())
    if data_type == "array" and str(definition.get("itemType")).lower() == "string":
        inner = (*inner, "maxLength")
    for name in _misplaced(entry, definition, inner):
        yield fault_at((*path, name), "belongs into dataDefinition")
    for name in _misplaced(definition, entry, more):
        yield fault_at((*path, "dataDefinition", name), "belongs beside dataDefinition")


def _misplaced(here: Mapping[str, Any], there: Mapping[str, Any], names: Sequence[str]) -> Iterator[str]:
    """Which of some members stand in one object and are missed in the other."""
    return (name for name in names if not _says_nothing(here.get(name)) and _says_nothing(there.get(name)))


def _within(entry: Mapping[str, Any], members: Sequence[str], path: _Path) -> Iterator[SchemaError]:
    """The faults of one object, of whose members these matter."""
    for name, value in entry.items():
        if name in _DOCUMENTED or _says_nothing(value):
            continue
        meant = _meant(name, [member for member in members if _says_nothing(entry.get(member))])
        if meant is not None:
            yield fault_at((*path, shorten(name)), f"unknown: did you mean {meant}?")


def _meant(name: str, members: Sequence[str]) -> str | None:
    """The one of some members that a name stands for, None for none of them."""
    plain = _plain(name[:_LONGEST])
    by_plain = {_plain(member): member for member in members}
    near = difflib.get_close_matches(_SHORT.get(plain, plain), by_plain, n=1, cutoff=_SIMILAR)
    return by_plain[near[0]] if near else None


def _plain(name: str) -> str:
    """A name in small letters without what others put between words."""
    return "".join(filter(str.isalnum, name)).lower()


def _says_nothing(value: object) -> bool:
    return value is None or value in ("", [], {})
