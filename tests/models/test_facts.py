"""Attributes and events of thing models: what is read, what is refused, and what values pass."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enos_ingest.errors import ModelError
from enos_ingest.models.compiler import compile_members
from enos_ingest.models.document import Event, ThingModel, parse_thing_model
from enos_ingest.models.validator import CompiledEvent, CompiledModel
from enos_ingest.models.value_type import Member, ValueType
from tests.models.documents import point, thing_model

STRUCT = {"items": [point("INT", identifier="a", required=True), point("STRING", identifier="b")]}
STRUCT_TYPE = ValueType(
    "STRUCT", members=(Member("a", ValueType("INT"), required=True), Member("b", ValueType("STRING")))
)


def parse(attributes: Any = None, events: Any = None) -> ThingModel:
    """Read a model of these attributes and events."""
    return parse_thing_model({**thing_model(), "attributes": attributes, "events": events}, "m.json")


def compiled(**attributes: object) -> CompiledModel:
    """A compiled model of these attributes."""
    return CompiledModel(parse(attributes))


def event(**entry: object) -> CompiledEvent:
    """The one event of a model, compiled."""
    found = CompiledModel(parse(None, {"e": entry})).event("e")
    assert found is not None
    return found


def refusal(attributes: Any = None, events: Any = None) -> str:
    """The sentence that a model with these is refused with."""
    with pytest.raises(ModelError) as caught:
        parse(attributes, events)
    return str(caught.value).removeprefix("m.json: ")


def fault(found: Exception | None) -> str:
    """The sentence of a fault, "" for none."""
    return "" if found is None else str(found)


# ------------------------------------------------------------------------------------------------------- documents


def test_attributes_are_read_whole() -> None:
    """Each with its type, whatever it is, and whether a device must have it."""
    found = parse(
        {
            "site": point("STRING", {"maxLength": 8}, identifier="site", isRequired=True, defaultValue="x"),
            "limits": point("STRUCT", json.dumps(STRUCT), isRequired=None),
        }
    ).attributes
    assert found == {
        "site": Member("site", ValueType("STRING", max_length=8), required=True),
        "limits": Member("limits", STRUCT_TYPE),
    }


def test_events_are_read_whole() -> None:
    """Outputs in their order, required where the model says so; type and name."""
    found = parse(
        None,
        {
            "alarm": {
                "identifier": "alarm",
                "name": {"defaultValue": "Alarm"},
                "eventType": "warn",
                "outputData": [
                    point("INT", identifier="level", required=True),
                    point("STRUCT", json.dumps(STRUCT), identifier="where"),
                ],
            }
        },
    ).events
    outputs = (Member("level", ValueType("INT"), required=True), Member("where", STRUCT_TYPE))
    assert found == {"alarm": Event("alarm", outputs, event_type="WARN", name="Alarm")}


@pytest.mark.parametrize("nothing", [None, {}])
def test_a_model_may_have_neither(nothing: object) -> None:
    """Null and an empty object are none, as is what is missing."""
    for model in (parse(nothing, nothing), parse_thing_model(thing_model(), "m.json")):
        assert (model.attributes, model.events) == ({}, {})


@pytest.mark.parametrize("entry", [{}, {"identifier": None, "outputData": None, "eventType": None, "name": None}])
def test_an_event_may_say_nothing(entry: dict[str, Any]) -> None:
    """It carries nothing and has no name."""
    assert parse(None, {"bare": entry}).events == {"bare": Event("bare")}


@pytest.mark.parametrize(
    ("attributes", "events", "said"),
    [
        ([], None, "attributes: expected an object"),
        ({"a": 1}, None, "attributes.a: expected an object"),
        ({"a": {}}, None, "attributes.a.dataType: missing"),
        ({"a": point("MAP")}, None, "attributes.a.dataType: the type map is not supported"),
        ({"a": point("INT", identifier="b")}, None, "attributes.a.identifier: expected the key it stands under, a"),
        ({"a": point("INT", isRequired="yes")}, None, "attributes.a.isRequired: expected a boolean"),
        ({"a": point("ENUM", "{")}, None, "attributes.a.dataDefinition: not JSON"),
        ({"": point("INT")}, None, "attributes.: as a name: at least 1 character"),
        (None, [], "events: expected an object"),
        (None, {"e": []}, "events.e: expected an object"),
        (None, {"e": {"identifier": "f"}}, "events.e.identifier: expected the key it stands under, e"),
        (None, {"e": {"outputData": {}}}, "events.e.outputData: expected an array"),
        (None, {"e": {"outputData": [point("INT")]}}, "events.e.outputData[0].identifier: missing"),
        (
            None,
            {"e": {"outputData": [point("INT", identifier="a"), point("INT", identifier="a")]}},
            "events.e.outputData[1].identifier: a second a",
        ),
        (None, {"e": {"outputData": [point("X", identifier="a")]}}, "events.e.outputData[0].dataType: unknown type X"),
        (None, {"a/b": {}}, "events.a/b: an event cannot have / + # or NUL in its name"),
        (None, {"+": {}}, "events.+: an event cannot have / + # or NUL in its name"),
    ],
)
def test_what_is_wrong_is_said(attributes: Any, events: Any, said: str) -> None:
    """One sentence, with the path."""
    assert refusal(attributes, events).startswith(said)


# ---------------------------------------------------------------------------------------------------------- values


def test_any_of_the_attributes_may_come() -> None:
    """One that is required is required of the device, not of each message."""
    attributes = compiled(a=point("INT", isRequired=True), b=point("STRUCT", STRUCT)).attributes
    for values in ({}, {"a": 1}, {"b": {"a": 1}}, {"b": {"a": 1, "b": "x"}, "a": -1}):
        assert attributes.fault(values) is None
    assert "a" in attributes
    assert "A" not in attributes


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"a": "1"}, "params.attributes.a: expected an integer"),
        ({"a": None}, "params.attributes.a: expected an integer"),
        ({"a": {"value": 1, "quality": 0}}, "params.attributes.a: expected an integer"),
        ({"A": 1}, "params.attributes.A: unknown"),
        ({"a": 101, "A": 1}, "params.attributes.a: at most 100"),
        ({"A": 1, "a": 101}, "params.attributes.A: unknown"),
        ({"b": {}}, "params.attributes.b.a: missing"),
        ({"b": {"a": 1, "c": 1}}, "params.attributes.b.c: unknown"),
    ],
)
def test_the_first_fault_of_attributes_is_told(values: dict[str, Any], said: str) -> None:
    """In the order of the message, with its path; no attribute has a quality."""
    attributes = compiled(a=point("INT", maximum=100), b=point("STRUCT", STRUCT)).attributes
    assert fault(attributes.fault(values, ("params", "attributes"))) == said


def test_an_event_carries_what_its_model_says() -> None:
    """Outputs are optional unless the model requires them, and no others are taken."""
    found = event(outputData=[point("INT", identifier="level", required=True), point("STRING", identifier="text")])
    at = ("params", "events")
    assert found.event.identifier == "e"
    assert found.fault({"level": 1}, at) is None
    assert found.fault({"text": "x", "level": 1}, at) is None
    assert fault(found.fault({"text": "x"}, at)) == "params.events.level: missing"
    assert fault(found.fault({"level": "x"}, at)) == "params.events.level: expected an integer"
    assert fault(found.fault({"level": 1, "LEVEL": 1}, at)) == "params.events.LEVEL: unknown"
    assert CompiledModel(parse()).event("e") is None


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abc"), inner, max_size=3)),
    max_leaves=6,
)
TYPES = st.sampled_from(
    [point("INT"), point("STRING"), point("BOOL"), point("ARRAY", {"itemType": "INT"}), point("STRUCT", STRUCT)]
)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(st.sampled_from("abc"), TYPES, max_size=3),
    st.dictionaries(st.sampled_from("abcd"), JSON, max_size=4),
)
def test_both_engines_agree_on_attributes(entries: dict[str, Any], values: dict[str, Any]) -> None:
    """A verdict is that of the reference engine, and there is a fault exactly where it finds one."""
    model = compiled(**entries)
    oracle = jsonschema.Draft202012Validator(compile_members([*model.model.attributes.values()], closed=True))
    assert (model.attributes.fault(values) is None) == oracle.is_valid(values)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.builds(
            lambda name, entry, required: {**entry, "identifier": name, "required": required},
            st.sampled_from("abc"),
            TYPES,
            st.booleans(),
        ),
        max_size=3,
        unique_by=lambda entry: str(entry["identifier"]),
    ),
    st.dictionaries(st.sampled_from("abcd"), JSON, max_size=4),
)
def test_both_engines_agree_on_events(outputs: list[dict[str, Any]], fields: dict[str, Any]) -> None:
    """The same for what an event carries."""
    found = event(outputData=outputs)
    oracle = jsonschema.Draft202012Validator(compile_members(found.event.outputs, closed=True))
    assert (found.fault(fields) is None) == oracle.is_valid(fields)
