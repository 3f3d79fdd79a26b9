"""A thing model made ready to check measurement points, attributes and events, and what services take and give."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from enos_ingest.errors import SchemaError
from enos_ingest.models.compiler import compile_members, compile_plain, compile_schema
from enos_ingest.models.document import Event, Service, ThingModel
from enos_ingest.models.template import describe
from enos_ingest.models.value_type import Member
from enos_ingest.schema import Schema, fault_at, shorten

__all__ = ["UNSPLIT", "CompiledEvent", "CompiledMembers", "CompiledModel", "CompiledService", "within_int64"]

UNSPLIT = frozenset({float, str, bool})
"""Types of values that hold no quality and no integer: `CompiledModel.split` gives them back as they are."""

_INT64_MIN = -(2**63)
_INT64_MAX = 2**63 - 1


class CompiledService:
    """The compiled form of one service.

    Attributes:
        service: what it was compiled from.
    """

    __slots__ = ("_input", "_output", "service")

    def __init__(self, service: Service) -> None:
        self.service = service
        self._input = Schema(compile_members(service.inputs, closed=True))
        # A device of a newer version than its model may tell more; what it did is done.
        self._output = Schema(compile_members(service.outputs, closed=False))

    def input_fault(self, document: object, at: Sequence[str | int] = ()) -> SchemaError | None:
        """What is wrong with the `inputData` of a call, None if nothing is; `at` is its path in the request."""
        return self._input.fault(document, at)

    def output_fault(self, document: object, at: Sequence[str | int] = ()) -> SchemaError | None:
        """The same for the `data` of a device's answer; None for none, as devices write it, counts as an empty one."""
        return self._output.fault({} if document is None else document, at)


class CompiledMembers:
    """The compiled form of members of which any may be there, such as a model's attributes, whichever it requires."""

    __slots__ = ("_known", "_schema")

    def __init__(self, members: Iterable[Member]) -> None:
        optional = [replace(each, required=False) for each in members]
        self._known = frozenset(each.identifier for each in optional)
        self._schema = Schema(compile_members(optional, closed=True))

    def __contains__(self, identifier: str) -> bool:
        return identifier in self._known

    def fault(self, values: Mapping[str, object], at: Sequence[str | int] = ()) -> SchemaError | None:
        """The first fault of some members' values, None if there is none; `at` is their path in the request."""
        if self._schema.is_valid(values):
            return None
        # One by one, so that no more than one is searched for its faults.
        faults = (self._fault(identifier, value, at) for identifier, value in values.items())
        return next(filter(None, faults), None)

    def _fault(self, identifier: str, value: object, at: Sequence[str | int]) -> SchemaError | None:
        if identifier not in self._known:
            return fault_at((*at, identifier), "unknown")
        return self._schema.fault({identifier: value}, at)


class CompiledEvent:
    """The compiled form of one event.

    Attributes:
        event: what it was compiled from.
    """

    __slots__ = ("_outputs", "_required", "event")

    def __init__(self, event: Event) -> None:
        self.event = event
        self._outputs = CompiledMembers(event.outputs)
        self._required = [each.identifier for each in event.outputs if each.required]

    def fault(self, fields: Mapping[str, object], at: Sequence[str | int] = ()) -> SchemaError | None:
        """What is wrong with what an event carries, None if nothing is; `at` is its path in the request."""
        missing = next((identifier for identifier in self._required if identifier not in fields), None)
        if missing is not None:
            return fault_at((*at, missing), "missing")
        return self._outputs.fault(fields, at)


class CompiledModel:
    """The compiled form of one thing model.

    Attributes:
        model: what it was compiled from.
        schema: one JSON Schema for the whole `measurepoints` object.
        is_valid: the bare verdict on a whole `measurepoints` object, in one call.
        attributes: its attributes.
    """

    __slots__ = (
        "_compiled",
        "_events",
        "_plain",
        "_quality",
        "_quality_structs",
        "_services",
        "_template",
        "attributes",
        "is_valid",
        "model",
        "schema",
    )

    def __init__(self, model: ThingModel) -> None:
        self.model = model
        self.schema = compile_schema(model)
        self._compiled = Schema(self.schema)
        self.is_valid: Callable[[object], bool] = self._compiled.is_valid
        with_quality = [point for point in model.measurepoints.values() if point.has_quality]
        self._quality = frozenset(point.identifier for point in with_quality)
        self._quality_structs = frozenset(
            point.identifier for point in with_quality if point.type.data_type == "STRUCT"
        )
        self._plain = Schema(compile_plain(with_quality))
        self._services = {name: CompiledService(service) for name, service in model.services.items()}
        self.attributes = CompiledMembers(model.attributes.values())
        self._events = {name: CompiledEvent(event) for name, event in model.events.items()}
        self._template: dict[str, Any] | None = None

    def check(self, measurepoints: object, at: Sequence[str | int] = ()) -> None:
        """Raise SchemaError for the first fault in document order.

        Args:
            measurepoints: the `measurepoints` object of a message.
            at: its path in the message.
        """
        if isinstance(measurepoints, dict):  # point by point, so that no more than one is searched for its faults
            faults = (self.point_fault(identifier, value, at) for identifier, value in measurepoints.items())
            for fault in filter(None, faults):
                raise fault
        else:
            self._compiled.check(measurepoints, at)

    def point_fault(self, identifier: str, value: object, at: Sequence[str | int] = ()) -> SchemaError | None:
        """What is wrong with one measurement point, None if nothing is.

        Args:
            identifier: the key in `measurepoints`.
            value: the value under it.
            at: the path of the `measurepoints` object, as for `check`.
        """
        if identifier not in self.model.measurepoints:
            return fault_at((*at, identifier), "unknown")
        point = {identifier: value}
        return None if self.is_valid(point) else self._compiled.fault(point, at)

    def set_fault(self, identifier: str, value: object, at: Sequence[str | int] = ()) -> SchemaError | None:
        """What is wrong with a value that one measurement point is to be set to, None if nothing is.

        It is the plain value: no quality goes to a device.

        Args:
            identifier: the measurement point.
            value: the value.
            at: the path of the value in the request.
        """
        if identifier not in self.model.measurepoints:
            return fault_at(at, f"measurement point {shorten(identifier)} is unknown")
        schema = self._plain if identifier in self._quality else self._compiled
        fault = schema.fault({identifier: value})
        return None if fault is None else fault_at((*at, *fault.path[1:]), fault.expectation)

    def service(self, identifier: str) -> CompiledService | None:
        """The service of this name, None where the model has none."""
        return self._services.get(identifier)

    def event(self, identifier: str) -> CompiledEvent | None:
        """The event of this name, None where the model has none."""
        return self._events.get(identifier)

    @property
    def template(self) -> dict[str, Any]:
        """The model as devices ask for it, made once; not to be changed."""
        if self._template is None:
            self._template = describe(self.model)
        return self._template

    def split(self, identifier: str, value: Any) -> tuple[Any, int | None]:
        """The value proper and the quality of a valid value; None where no quality was given.

        An integer that does not fit into 64 bits with sign becomes floating point, also inside.
        """
        quality = None
        if type(value) is dict and identifier in self._quality and self._is_wrapped(identifier, value):
            quality = int(value["quality"])
            value = value["value"]
        return within_int64(value), quality

    def _is_wrapped(self, identifier: str, value: dict[str, Any]) -> bool:
        """Whether an object is {value, quality}: a plain struct holds no objects, so its `value` is none."""
        return identifier not in self._quality_structs or isinstance(value.get("value"), dict)


def within_int64(value: Any) -> Any:
    """A value whose integers fit into 64 bits with sign; the others, also in arrays and structs, become floats."""
    if type(value) is int:
        return value if _INT64_MIN <= value <= _INT64_MAX else float(value)
    if type(value) is list:
        # An array without integers, as most are, is known as such in a quarter of the time.
        return value if UNSPLIT.issuperset(map(type, value)) else [within_int64(item) for item in value]
    if type(value) is dict:
        return {name: within_int64(member) for name, member in value.items()}
    return value
