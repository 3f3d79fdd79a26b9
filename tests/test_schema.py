"""JSON Schema: verdicts, paths and the wording of faults."""

from __future__ import annotations

import datetime as dt
import itertools
import sys
from typing import Any

import jsonschema
import orjson
import pytest

from enos_ingest.errors import SchemaError
from enos_ingest.schema import Schema, load_schema, shorten

PERSON: dict[str, Any] = {
    "type": "object",
    "required": ["name", "age"],
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer"},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "additionalProperties": False,
}


def fault(document: dict[str, Any], instance: object) -> str:
    """The text of the first fault, checked against the reference engine's verdict."""
    schema = Schema(document)
    assert not schema.is_valid(instance)
    assert not jsonschema.Draft202012Validator(document).is_valid(instance)
    found = schema.fault(instance)
    assert found is not None
    return str(found)


def nested(depth: int) -> Any:
    """Arrays within arrays, as the parser yields them."""
    return orjson.loads("[" * depth + "]" * depth)


def test_load_schema_reads_what_comes_with_the_package() -> None:
    """A schema is found by its name, wherever the package is installed."""
    assert load_schema("thing-model")["title"] == "EnOS ThingModel"


def test_schema_that_is_none_is_an_error_of_the_program() -> None:
    """A document that is no JSON Schema is refused when it is compiled."""
    with pytest.raises(jsonschema.SchemaError):
        Schema({"type": "numbre"})


def test_valid_instance_passes() -> None:
    """A valid instance has no fault, whichever way it is asked for."""
    schema = Schema(PERSON)
    instance = {"name": "a", "age": 3.0}
    assert schema.is_valid(instance)
    schema.check(instance)
    assert schema.fault(instance) is None
    assert list(schema.faults(instance)) == []
    assert schema.document is PERSON


@pytest.mark.parametrize(
    ("document", "instance", "text"),
    [
        ({"type": "number"}, "x", "$: expected a number"),
        ({"type": "integer"}, 1.5, "$: expected an integer"),
        ({"type": "string"}, 1, "$: expected a string"),
        ({"type": "object"}, 1, "$: expected an object"),
        ({"type": "array"}, 1, "$: expected an array"),
        ({"type": "boolean"}, 1, "$: expected a boolean"),
        ({"type": "null"}, 1, "$: expected null"),
        ({"type": ["string", "integer"]}, True, "$: expected a string or an integer"),
        ({"type": ["string", "integer", "null"]}, True, "$: expected a string or an integer"),
        ({"type": ["string", "integer", "array"]}, True, "$: expected a string, an integer or an array"),
        ({"type": "string", "description": "The name."}, 1, "$: expected a string"),
        ({"type": "string", "description": "expected a name"}, 1, "$: expected a name"),
        ({"maximum": 2147483647}, 2**31, "$: at most 2147483647"),
        ({"minimum": 0}, -1, "$: at least 0"),
        ({"exclusiveMaximum": 5}, 5, "$: less than 5"),
        ({"exclusiveMinimum": 0.5}, 0.5, "$: more than 0.5"),
        ({"maxLength": 1024}, "x" * 1025, "$: at most 1024 characters"),
        ({"minLength": 1}, "", "$: at least 1 character"),
        ({"minItems": 1}, [], "$: at least 1 item"),
        ({"maxItems": 2}, [1, 2, 3], "$: at most 2 items"),
        ({"minProperties": 1}, {}, "$: at least 1 member"),
        ({"maxProperties": 0}, {"a": 1}, "$: at most 0 members"),
        ({"const": "thing.measurepoint.resume"}, 1, '$: expected "thing.measurepoint.resume"'),
        ({"enum": [1, 2, 3]}, 4, "$: expected one of 1, 2, 3"),
        ({"enum": ["a"]}, "b", '$: expected "a"'),
        ({"enum": list(range(20))}, -1, "$: expected one of 0, 1, 2, 3, 4, 5, 6, 7 or 12 more"),
        ({"enum": ["x" * 900, 1]}, 0, f'$: expected one of "{"x" * 38}…, 1'),
        ({"pattern": "^a$", "description": "expected an a"}, "b", "$: expected an a"),
        ({"pattern": "^a$", "description": "an a"}, "b", "$: expected an a"),
        ({"pattern": "^a$"}, "b", "$: does not fit (pattern)"),
        ({"multipleOf": 3}, 4, "$: does not fit (multipleOf)"),
        ({"required": ["a"]}, {}, "a: missing"),
        ({"properties": {"b": {}}, "additionalProperties": False}, {"b": 1, "a": 1}, "a: unknown"),
        ({"unevaluatedProperties": False}, {"a": 1}, "a: unknown"),
        ({"properties": {"a": False}}, {"a": 1}, "a: unknown"),
        ({"propertyNames": {"maxLength": 2}}, {"abc": 1}, "abc: as a name: at most 2 characters"),
        ({"items": {"type": "integer"}}, [1, "x"], "[1]: expected an integer"),
        (
            {"$ref": "#/$defs/a", "$defs": {"a": {"pattern": "a", "description": "expected an a"}}},
            "b",
            "$: expected an a",
        ),
    ],
)
def test_fault_says_what_was_expected(document: dict[str, Any], instance: object, text: str) -> None:
    """Each kind of fault has its few words, and the path of what is wrong."""
    assert fault(document, instance) == text


INT_OR_QUALITY: dict[str, Any] = {
    "description": "expected an integer, or an object with value and quality",
    "anyOf": [
        {"type": "integer", "maximum": 9},
        {
            "type": "object",
            "properties": {"value": {"type": "integer"}, "quality": {"type": "integer"}},
            "required": ["value", "quality"],
            "additionalProperties": False,
        },
    ],
}


@pytest.mark.parametrize(
    ("instance", "text"),
    [
        ("x", "$: expected an integer, or an object with value and quality"),
        (10, "$: at most 9"),
        ({"value": "x", "quality": 1}, "value: expected an integer"),
        ({"value": 1}, "quality: missing"),
        ({"value": 1, "quality": 1, "more": 1}, "more: unknown"),
    ],
)
def test_any_of_tells_the_fault_of_the_branch_that_was_meant(instance: object, text: str) -> None:
    """An instance of the kind of one branch is told that branch's fault, any other what all branches are."""
    assert fault(INT_OR_QUALITY, instance) == text


def test_any_of_prefers_the_branch_whose_members_are_there() -> None:
    """Of two branches that are objects, the one with fewer missing and unknown members is meant."""
    plain = {"properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
    document = {"anyOf": [{"type": "object", **plain}, *INT_OR_QUALITY["anyOf"]]}
    assert fault(document, {"a": "x"}) == "a: expected an integer"
    assert fault(document, {"value": 1, "quality": "x"}) == "quality: expected an integer"


def test_any_of_without_a_clear_branch_is_told_as_a_whole() -> None:
    """Where branches are equally near, none is picked."""
    document = {"anyOf": [{"maximum": 1}, {"maximum": 2}]}
    assert fault(document, 3) == "$: matches none of the allowed forms"


def test_any_of_within_any_of_is_no_branch_of_its_kind() -> None:
    """An inner choice that does not fit at all leaves the outer one to speak."""
    inner = {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^a$"}]}
    document = {"description": "expected a or b", "anyOf": [inner, {"enum": [None]}]}
    assert fault(document, 1.5) == "$: expected a or b"
    assert fault(document, "b") == "$: expected a or b"


def test_one_of_is_told_like_any_of() -> None:
    """oneOf picks a branch as anyOf does, and says so where too many fit."""
    document = {"oneOf": [{"type": "integer", "maximum": 5}, {"type": "string"}]}
    assert fault(document, 6) == "$: at most 5"
    assert fault({"oneOf": [{"minimum": 1}, {"minimum": 2}]}, 3) == "$: does not fit (oneOf)"


def test_type_is_told_before_choices() -> None:
    """A value of the wrong type is told so, not which values of the right type there are."""
    assert fault({"enum": [1, 2], "type": "integer"}, "1") == "$: expected an integer"


def test_first_fault_is_the_first_in_the_document() -> None:
    """Faults come in the order of the instance; what is missing stands at the start of its object."""
    document = {"type": "array", "items": PERSON}
    instance = [{"name": "a", "age": 1}, {"tags": ["a", 1, 2], "zip": 1, "name": 1}]
    faults = [str(found) for found in Schema(document).faults(instance, ("people",))]
    assert faults == [
        "people[1].age: missing",
        "people[1].tags[1]: expected a string",
        "people[1].tags[2]: expected a string",
        "people[1].zip: unknown",
        "people[1].name: expected a string",
    ]
    with pytest.raises(SchemaError) as caught:
        Schema(document).check(instance, ("people",))
    assert caught.value.path == ("people", 1, "age")
    assert caught.value.expectation == "missing"


def test_fault_far_down_a_long_array_is_found() -> None:
    """What the quick look at the start of an array misses, the whole of it shows."""
    instance = [1] * 5000 + ["x", "y"]
    assert fault({"items": {"type": "integer"}}, instance) == "[5000]: expected an integer"
    assert fault({"maxItems": 200}, instance) == "$: at most 200 items"


def test_fault_far_down_a_large_object_is_found() -> None:
    """The same for members; those that the schema names are looked at wherever they stand."""
    strangers = {f"m{number}": number for number in range(5000)}
    assert fault({"additionalProperties": {"type": "integer"}}, {**strangers, "x": "x"}) == "x: expected an integer"
    assert fault({"maxProperties": 200}, strangers) == "$: at most 200 members"
    open_person = {"type": "object", "required": PERSON["required"], "properties": PERSON["properties"]}
    assert fault(open_person, {**strangers, "name": "a"}) == "age: missing"
    assert fault(open_person, {**strangers, "name": "a", "age": "old"}) == "age: expected an integer"
    assert fault(PERSON, {"name": "a", **strangers, "age": 1}) == "m0: unknown"


def test_a_flood_of_members_costs_no_more_than_some() -> None:
    """An object of 40 000 members that its schema does not know is as much work as one of 200, counted in calls."""
    document = {"properties": {"p": PERSON}}
    calls = dict.fromkeys((200, 40_000), 0)
    for number in calls:
        instance = {"p": {**{f"m{index}": index for index in range(number)}, "name": 1}}
        schema, count = Schema(document), itertools.count()
        sys.setprofile(lambda *_, count=count: next(count))
        found = schema.fault(instance)
        sys.setprofile(None)
        assert str(found) == "p.age: missing"
        calls[number] = next(count)
    assert calls[40_000] == calls[200] < 10_000


def test_a_member_may_have_the_name_of_a_keyword() -> None:
    """What stands under it is then a schema, and no list of names."""
    document = {"properties": {"required": {"type": "string"}, "properties": {"type": "integer"}}}
    assert fault(document, {"required": 1}) == "required: expected a string"
    assert fault(document, {"properties": "x"}) == "properties: expected an integer"


def test_long_names_are_cut_in_texts_but_not_in_paths() -> None:
    """A stranger's key of any length gives a short sentence."""
    with pytest.raises(SchemaError) as caught:
        Schema(PERSON).check({"k" * 100_000: 1, "name": "", "age": 1})
    assert caught.value.path == ("k" * 100_000,)
    assert str(caught.value) == f"{'k' * 39}…: unknown"


@pytest.mark.parametrize("depth", [200, 255, 256, 600, 1024])
@pytest.mark.parametrize(
    "document",
    [
        {"type": "object"},
        {"enum": [1, 2]},
        {"const": 1},
        {"anyOf": [{"type": "object"}, {"enum": [1]}]},
        {"items": {"type": "integer"}},
        {"type": "array", "items": {"items": {"items": {"enum": ["a"]}}}},
    ],
)
def test_deep_nesting_is_a_fault_like_any_other(document: dict[str, Any], depth: int) -> None:
    """No depth that the parser lets through gets anything but a verdict and one short sentence."""
    schema = Schema(document)
    instance = nested(depth)
    assert schema.is_valid(instance) is False
    with pytest.raises(SchemaError) as caught:
        schema.check(instance)
    assert len(str(caught.value)) < 100
    assert [str(found) for found in schema.faults(instance)] == [str(caught.value)]


def test_deep_nesting_where_nothing_is_asked_is_valid() -> None:
    """Members that a schema leaves open may be as deep as they like."""
    instance = {"name": nested(1000), "age": 1}
    schema = Schema({"required": ["name"], "properties": {"age": {"enum": [1]}}})
    assert schema.is_valid(instance)
    assert schema.fault(instance) is None
    assert list(schema.faults(instance)) == []


def test_deep_nesting_whose_fault_cannot_be_told_is_refused() -> None:
    """Where the start of an instance has no fault and the engine cannot describe the whole, the sentence is general."""
    schema = Schema({"maxItems": 150})
    assert not schema.is_valid([nested(600)] * 151)
    assert str(schema.fault([nested(600)] * 151)) == "$: nested too deep, or no JSON"


def test_deep_nesting_beside_a_valid_value_is_judged_by_what_is_asked() -> None:
    """The engine's refusal to describe a deep instance is no verdict: the reference engine agrees."""
    document = {"not": {"type": "object", "required": ["a"]}}
    assert Schema(document).is_valid(nested(600))
    assert jsonschema.Draft202012Validator(document).is_valid(nested(600))


@pytest.mark.parametrize("number", [10**400, -(10**400), 10**4000, 1e308, -1e308, 2**64])
def test_numbers_of_any_size_get_a_verdict(number: float) -> None:
    """Numbers beyond every machine type are faults, not exceptions."""
    assert fault({"type": "integer", "minimum": -10, "maximum": 10}, number)


@pytest.mark.parametrize("strange", [dt.date(2024, 1, 1), b"x", {1}, object()])
def test_values_that_json_does_not_know_are_named(strange: object) -> None:
    """What other parsers yield, dates of TOML for instance, is refused at its path."""
    schema = Schema({"properties": {"a": {"type": ["string", "null"]}}})
    assert not schema.is_valid({"a": strange})
    assert str(schema.fault({"a": strange})) == f"a: expected a JSON value, not a {type(strange).__name__}"
    assert [str(found) for found in schema.faults({"a": strange})] == [str(schema.fault({"a": strange}))]


def test_text_that_is_no_unicode_is_refused() -> None:
    """Half a surrogate pair is no text."""
    schema = Schema({"properties": {"a": {"pattern": "^a"}}})
    assert not schema.is_valid({"a": "\ud800"})
    assert str(schema.fault({"a": "\ud800"}, ("at",))) == "at: nested too deep, or no JSON"


def test_shorten_cuts_only_what_is_too_long() -> None:
    """A text within the length stays as it is."""
    assert shorten("abc", 3) == "abc"
    assert shorten("abcd", 3) == "ab…"
