"""From a thing model to JSON Schemas: of the `measurepoints` object of a message, of what services take and give."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from enos_ingest.models.document import Measurepoint, ThingModel
from enos_ingest.models.value_type import DataType, Member, ValueType

__all__ = ["DEFAULT_MAX_LENGTH", "compile_members", "compile_plain", "compile_schema"]

DEFAULT_MAX_LENGTH: Final = 1024
"""Characters of a STRING whose model says nothing: the limit that EnOS documents."""

_INT32 = {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}

_SINGLE_PRECISION_MAX = (2 - 2**-23) * 2.0**127
"""The greatest number of IEEE 754 single precision."""

_END = r"$(?!\n)"
"""The end of a text: a lone `$` of Python's engine also stands before a last newline."""

_DECIMAL = r"^-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?" + _END

_INT32_TEXT = (
    r"^-?0*([0-9]{1,9}|1[0-9]{9}|20[0-9]{8}|21[0-3][0-9]{7}|214[0-6][0-9]{6}|2147[0-3][0-9]{5}|21474[0-7][0-9]{4}"
    r"|214748[0-2][0-9]{3}|2147483[0-5][0-9]{2}|21474836[0-3][0-9]|214748364[0-7])" + _END + r"|^-0*2147483648" + _END
)

_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}( [0-9]{2}:[0-9]{2}:[0-9]{2})?" + _END

_ISO_8601 = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?" + _END
)

_URI = r"^[A-Za-z][A-Za-z0-9+.-]*:[^\x00-\x20\x7f]+" + _END

_PLAIN: dict[DataType, dict[str, Any]] = {
    "INT": _INT32,
    "FLOAT": {"type": "number", "minimum": -_SINGLE_PRECISION_MAX, "maximum": _SINGLE_PRECISION_MAX},
    "DOUBLE": {"type": "number"},
    "BOOL": {"type": "boolean"},
    "DATE": {
        "description": "expected a date, YYYY-MM-DD or YYYY-MM-DD HH:MM:SS",
        "type": "string",
        "pattern": _DATE,
    },
    "TIMESTAMP": {
        "description": "expected a timestamp, epoch milliseconds or ISO 8601",
        "anyOf": [{"type": "integer"}, {"type": "string", "pattern": _ISO_8601}],
    },
    "FILE": {"description": "expected a URI", "type": "string", "pattern": _URI},
}

_NOUNS: dict[DataType, str] = {
    "ARRAY": "an array",
    "BOOL": "a boolean",
    "DATE": "a date",
    "DOUBLE": "a number",
    "ENUM": "a value of the enumeration",
    "FILE": "a URI",
    "FLOAT": "a number",
    "INT": "an integer",
    "STRING": "a string",
    "STRUCT": "an object with the members of the struct",
    "TIMESTAMP": "a timestamp",
}


def compile_schema(model: ThingModel) -> dict[str, Any]:
    """A JSON Schema, draft 2020-12, of the `measurepoints` object; points that the model lacks are refused."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": model.model_id,
        "type": "object",
        "properties": {identifier: _point(point) for identifier, point in model.measurepoints.items()},
        "additionalProperties": False,
    }


def compile_plain(points: Iterable[Measurepoint]) -> dict[str, Any]:
    """A JSON Schema of an object with plain values of some points, without their quality."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {point.identifier: _value(point.type) for point in points},
    }


def compile_members(members: Sequence[Member], *, closed: bool) -> dict[str, Any]:
    """A JSON Schema of an object with these members; others are refused where it is `closed`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        **_members(members),
        "additionalProperties": not closed,
    }


def _members(members: Sequence[Member]) -> dict[str, Any]:
    return {
        "properties": {member.identifier: _value(member.type) for member in members},
        "required": [member.identifier for member in members if member.required],
    }


def _point(point: Measurepoint) -> dict[str, Any]:
    plain = _value(point.type)
    if not point.has_quality:
        return plain
    with_quality = {
        "type": "object",
        "properties": {"value": plain, "quality": _INT32},
        "required": ["value", "quality"],
        "additionalProperties": False,
    }
    noun = _NOUNS[point.type.data_type]
    return {"description": f"expected {noun}, or an object with value and quality", "anyOf": [plain, with_quality]}


def _value(kind: ValueType) -> dict[str, Any]:
    match kind.data_type:
        case "INT" | "FLOAT" | "DOUBLE":
            return _number(kind)
        case "ENUM":
            return {"type": "integer" if isinstance(kind.choices[0], int) else "string", "enum": list(kind.choices)}
        case "ARRAY":
            return {"type": "array", "items": _item(kind)}
        case "STRUCT":
            return {"type": "object", **_members(kind.members), "additionalProperties": False}
        case _:
            return _plain(kind.data_type, kind.max_length)


def _number(kind: ValueType) -> dict[str, Any]:
    """The bounds of the type, narrowed to those of the model."""
    schema = _plain(kind.data_type, None)
    if kind.minimum is not None:
        schema["minimum"] = max(kind.minimum, schema.get("minimum", kind.minimum))
    if kind.maximum is not None:
        schema["maximum"] = min(kind.maximum, schema.get("maximum", kind.maximum))
    if kind.exclusive_minimum is not None:
        schema["exclusiveMinimum"] = kind.exclusive_minimum
    if kind.exclusive_maximum is not None:
        schema["exclusiveMaximum"] = kind.exclusive_maximum
    return schema


def _item(kind: ValueType) -> dict[str, Any]:
    """An item of an array: devices send numbers there as decimal strings too, as the documents' own sample does."""
    match kind.item_type:
        case "INT":
            return {
                "description": "expected an integer of 32 bits, also as a string",
                "anyOf": [_plain("INT", None), {"type": "string", "pattern": _INT32_TEXT}],
            }
        case "FLOAT" | "DOUBLE" as item_type:
            return {
                "description": "expected a number, also as a decimal string",
                "anyOf": [_plain(item_type, None), {"type": "string", "pattern": _DECIMAL}],
            }
        case item_type:
            assert item_type is not None  # the reader of thing models lets no ARRAY pass without
            return _plain(item_type, kind.max_length)


def _plain(data_type: DataType, max_length: int | None) -> dict[str, Any]:
    """A type that says all by its name, STRING with its length."""
    if data_type == "STRING":
        return {"type": "string", "maxLength": max_length or DEFAULT_MAX_LENGTH}
    return dict(_PLAIN[data_type])
