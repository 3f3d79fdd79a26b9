"""JSON Schema, draft 2020-12, with faults worded for people.

Two engines read every schema: `jsonschema` checks that the schema itself is one, `jsonschema-rs` does the work per
message. A schema may word its own faults: a `description` that starts with "expected " is used as it stands.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import resources
from typing import Any, NamedTuple, TypeAlias

import jsonschema
import jsonschema_rs

from enos_ingest.errors import SchemaError, format_path

__all__ = ["Schema", "fault_at", "load_schema", "shorten"]

_Path: TypeAlias = tuple[str | int, ...]
_Kind: TypeAlias = jsonschema_rs.ValidationErrorKind

_SHOWN_CHARACTERS = 40
"""A value or a key in a text is cut to this length: replies and log lines echo what strangers send."""

_SHOWN_CHOICES = 8
"""So many values of an enumeration are named in a text."""

_READ_DEPTH = 64
"""Faults are looked for so deep. No schema of ours reaches half of it, and jsonschema-rs refuses to describe an
instance nested more than 255 deep, while JSON from the wire has up to 1024 levels."""

_READ_ITEMS = 128
"""The first fault is looked for in so many items of each array, and in so many members of each object beside those that
the schema names, before the whole of it. The engine words every fault before it hands out the first, some 10 us each:
512 KiB of bad items would hold the event loop for seconds, and 40 000 unknown members for a tenth of one."""

_TYPES = {
    "array": "an array",
    "boolean": "a boolean",
    "integer": "an integer",
    "null": "null",
    "number": "a number",
    "object": "an object",
    "string": "a string",
}

_LIMITS: dict[str, Callable[[Any], str]] = {
    "exclusiveMaximum": lambda limit: f"less than {limit}",
    "exclusiveMinimum": lambda limit: f"more than {limit}",
    "maximum": lambda limit: f"at most {limit}",
    "minimum": lambda limit: f"at least {limit}",
    "maxItems": lambda limit: f"at most {_count(limit, 'item')}",
    "minItems": lambda limit: f"at least {_count(limit, 'item')}",
    "maxLength": lambda limit: f"at most {_count(limit, 'character')}",
    "minLength": lambda limit: f"at least {_count(limit, 'character')}",
    "maxProperties": lambda limit: f"at most {_count(limit, 'member')}",
    "minProperties": lambda limit: f"at least {_count(limit, 'member')}",
    "const": lambda value: f"expected {shorten(json.dumps(value, ensure_ascii=False))}",
    "enum": lambda values: f"expected {_choice(values)}",
}


class _Fault(NamedTuple):
    """`mismatch`: the instance is of another kind altogether than the schema, not a faulty one of its kind."""

    path: _Path
    text: str
    mismatch: bool = False


def load_schema(name: str) -> dict[str, Any]:
    """A schema that comes with the package, e.g. `envelopes/measurepoint-resume`."""
    text = resources.files("enos_ingest").joinpath(f"schemas/{name}.json").read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text)
    return document


def shorten(text: str, length: int = _SHOWN_CHARACTERS) -> str:
    """The text, or as much of it as fits in `length` characters."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


class Schema:
    """A compiled schema.

    Args:
        document: the JSON Schema; one that is none raises `jsonschema.SchemaError`, an error of the program.
            No array of it may ask for something only to be found behind the first 128 items (`contains`), and no
            object for more members than that beside those that are named (`minProperties`).
    """

    __slots__ = ("_is_valid", "_iter_errors", "_named", "_validate", "document")

    def __init__(self, document: dict[str, Any]) -> None:
        jsonschema.Draft202012Validator.check_schema(document)
        engine = jsonschema_rs.Draft202012Validator(document)
        self.document = document
        self._named = frozenset(_named_members(document))
        self._is_valid = engine.is_valid
        self._iter_errors = engine.iter_errors
        self._validate = engine.validate

    def is_valid(self, instance: object) -> bool:
        """The bare verdict, a fraction of a microsecond for a small instance."""
        try:
            return self._is_valid(instance)
        except ValueError:  # no JSON: of a type it does not know, or half a surrogate pair
            return self.fault(instance) is None

    def check(self, instance: object, at: Sequence[str | int] = ()) -> None:
        """Raise SchemaError for the first fault in document order.

        Args:
            instance: a JSON value as Python has it.
            at: where the instance stands in its document; goes before the path of the fault.
        """
        fault = self.fault(instance, at)
        if fault is not None:
            raise fault

    def fault(self, instance: object, at: Sequence[str | int] = ()) -> SchemaError | None:
        """The first fault in document order; None if the instance is valid.

        A missing member counts as a fault of the object that lacks it, so it comes before those of its members.
        """
        try:
            excerpt = self._excerpt(instance, tuple(at), 0)
            faults = self._explain(self._iter_errors(excerpt), excerpt)
            if not faults:
                faults = self._explain(self._first_error(instance), instance)
        except SchemaError as error:
            return error
        except ValueError:
            return fault_at(tuple(at), "nested too deep, or no JSON")
        return fault_at((*at, *faults[0].path), faults[0].text) if faults else None

    def faults(self, instance: object, at: Sequence[str | int] = ()) -> Iterator[SchemaError]:
        """Every fault in document order; only the first where the instance is too deep or no JSON."""
        try:
            faults = self._explain(self._iter_errors(instance), instance)
        except ValueError:
            first = self.fault(instance, at)
            yield from [first] if first else []
            return
        for fault in faults:
            yield fault_at((*at, *fault.path), fault.text)

    def _excerpt(self, value: Any, path: _Path, depth: int) -> Any:
        """As much of a value as faults are looked for in; raises SchemaError for what is no JSON."""
        if isinstance(value, dict):
            excerpt: dict[str, Any] = {}
            strange = 0
            for name, member in value.items() if depth < _READ_DEPTH else ():
                if name not in self._named:
                    strange += 1
                    if strange > _READ_ITEMS:
                        continue
                excerpt[name] = self._excerpt(member, (*path, name), depth + 1)
            return excerpt
        if isinstance(value, list | tuple):
            items = value[:_READ_ITEMS] if depth < _READ_DEPTH else ()
            return [self._excerpt(item, (*path, index), depth + 1) for index, item in enumerate(items)]
        if value is None or isinstance(value, str | int | float):
            return value
        raise fault_at(path, f"expected a JSON value, not a {type(value).__name__}")

    def _first_error(self, instance: object) -> list[jsonschema_rs.ValidationError]:
        try:
            self._validate(instance)
        except jsonschema_rs.ValidationError as error:
            return [error]
        return []

    def _explain(
        self, errors: Iterator[jsonschema_rs.ValidationError] | list[jsonschema_rs.ValidationError], instance: object
    ) -> list[_Fault]:
        """The faults that the errors stand for, in document order."""
        faults = [fault for error in errors for fault in self._read(error, instance)]
        positions = _Positions(instance)
        faults.sort(key=lambda fault: (positions.of(fault.path), not fault.mismatch))
        return faults

    def _read(self, error: jsonschema_rs.ValidationError, instance: object) -> list[_Fault]:
        path: _Path = tuple(error.instance_path)
        *steps, keyword = error.schema_path
        owner: Any = self.document
        for step in steps:
            owner = owner[step]
        match error.kind:
            case _Kind.Required(property=name):
                return [_Fault((*path, name), "missing")]
            case _Kind.AdditionalProperties(unexpected=names) | _Kind.UnevaluatedProperties(unexpected=names):
                return [_Fault((*path, name), "unknown") for name in names]
            case _Kind.FalseSchema():
                return [_Fault(path, "unknown")]
            case _Kind.PropertyNames(error=inner):
                text = self._read(inner, instance)[0].text
                return [_Fault((*path, str(inner.instance)), f"as a name: {text}")]
            case _Kind.AnyOf(context=context) | _Kind.OneOfNotValid(context=context):
                return [self._read_branches(path, owner, context, instance)]
            case _:
                return [_Fault(path, _word(str(keyword), owner), _is_mismatch(str(keyword), owner))]

    def _read_branches(
        self,
        path: _Path,
        owner: Mapping[str, Any],
        context: list[list[jsonschema_rs.ValidationError]],
        instance: object,
    ) -> _Fault:
        """The fault of the one branch that the instance is clearly meant for, else what `owner` says of them all."""
        meant: dict[int, list[_Fault]] = {}
        for errors in context:
            faults = self._explain(errors, instance)
            if any(fault.mismatch and fault.path == path for fault in faults):
                continue
            strange = sum(fault.text in {"missing", "unknown"} and len(fault.path) == len(path) + 1 for fault in faults)
            meant.setdefault(strange, []).append(faults[0])
        nearest = meant[min(meant)] if meant else []
        if len(nearest) == 1:
            return nearest[0]
        return _Fault(path, _described(owner, "matches none of the allowed forms"), not meant)


class _Positions:
    """Where paths lead in a document, as something to sort by."""

    def __init__(self, instance: object) -> None:
        self._instance = instance
        self._members: dict[int, dict[str, int]] = {}

    def of(self, path: _Path) -> tuple[int, ...]:
        """One number a step; a missing member stands before all that are there."""
        position: list[int] = []
        value: Any = self._instance
        for step in path:
            if isinstance(step, int):
                position.append(step)
                value = value[step]
                continue
            members = self._members.get(id(value))
            if members is None:
                members = self._members[id(value)] = {name: index for index, name in enumerate(value)}
            position.append(members.get(step, -1))
            value = value.get(step)
        return tuple(position)


def _named_members(schema: object) -> Iterator[str]:
    """The names of members that a schema has a word for, wherever in it."""
    if isinstance(schema, dict):
        for keyword in ("properties", "required"):
            # A member may itself be called `properties`: what it stands for is no list of names then.
            named = schema.get(keyword)
            if isinstance(named, dict | list):
                yield from (name for name in named if isinstance(name, str))
        schema = list(schema.values())
    if isinstance(schema, list):
        for part in schema:
            yield from _named_members(part)


def fault_at(path: Sequence[str | int], text: str) -> SchemaError:
    """A fault whose message shows no more than the start of long keys; its path keeps them."""
    shown = [shorten(step) if isinstance(step, str) else step for step in path]
    return SchemaError(path, text, f"{format_path(shown)}: {text}")


def _word(keyword: str, owner: Mapping[str, Any]) -> str:
    """What the keyword of a schema expects, in few words."""
    if keyword in _LIMITS:
        return _LIMITS[keyword](owner[keyword])
    if keyword == "type":
        description = str(owner.get("description", ""))
        return description if description.startswith("expected ") else f"expected {_types(owner['type'])}"
    return _described(owner, f"does not fit ({keyword})")


def _is_mismatch(keyword: str, owner: Mapping[str, Any]) -> bool:
    """Whether the fault tells nothing but that the instance is none of these."""
    if keyword in {"const", "enum"}:
        return "type" not in owner
    return keyword == "type" or (keyword == "pattern" and "description" not in owner)


def _described(owner: Mapping[str, Any], otherwise: str) -> str:
    description = owner.get("description")
    if not description:
        return otherwise
    return str(description) if description.startswith("expected ") else f"expected {description}"


def _types(types: str | list[str]) -> str:
    """The types as people name them; null means "not given" in this protocol and is left unsaid."""
    names = [types] if isinstance(types, str) else [name for name in types if name != "null"]
    *most, last = [_TYPES[name] for name in names]
    return f"{', '.join(most)} or {last}" if most else last


def _choice(values: list[Any]) -> str:
    shown = [shorten(json.dumps(value, ensure_ascii=False)) for value in values[:_SHOWN_CHOICES]]
    more = len(values) - len(shown)
    text = ", ".join(shown) + (f" or {more} more" if more else "")
    return f"one of {text}" if len(values) > 1 else text


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
