"""What business software may set and call: access modes and services of thing models."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enos_ingest.errors import ModelError
from enos_ingest.models.compiler import compile_members
from enos_ingest.models.document import Service, ThingModel, parse_thing_model
from enos_ingest.models.validator import CompiledModel, CompiledService
from enos_ingest.models.value_type import Member, ValueType
from tests.models.documents import compiled, point, thing_model

STRUCT = {"items": [point("INT", identifier="a", required=True), point("STRING", identifier="b")]}
NESTED = {"items": [point("STRUCT", STRUCT, identifier="y")]}


def parse(**services: object) -> ThingModel:
    """Read a model of these services."""
    return parse_thing_model({**thing_model(), "services": services}, "m.json")


def service(**entry: object) -> CompiledService:
    """The one service of a model, compiled."""
    found = CompiledModel(parse(s=entry)).service("s")
    assert found is not None
    return found


def refusal(**services: object) -> str:
    """The sentence that a model with these services is refused with."""
    with pytest.raises(ModelError) as caught:
        parse(**services)
    return str(caught.value).removeprefix("m.json: ")


def fault(found: Exception | None) -> str:
    """The sentence of a fault, "" for none."""
    return "" if found is None else str(found)


# ------------------------------------------------------------------------------------------------------- documents


@pytest.mark.parametrize(
    ("mode", "writable"),
    [
        (None, True), ("", True), ("RW", True), ("rw", True), ("W", True), ("READ_WRITE", True), ("write", True),
        ("R", False), ("r", False), ("READ", False), ("none", False),
    ],
)  # fmt: skip
def test_a_point_is_writable_unless_its_model_says_otherwise(mode: str | None, writable: bool) -> None:
    """Any access mode with a W in it, and none at all."""
    model = compiled(p=point("INT", accessMode=mode)).model
    assert model.measurepoints["p"].writable is writable
    assert compiled(p=point("INT")).model.measurepoints["p"].writable


@pytest.mark.parametrize(
    ("name", "title"),
    [
        (None, None),
        ("", None),
        ("Power", {"defaultValue": "Power", "i18nValue": {}}),
        ({"defaultValue": "Power", "i18nValue": None}, {"defaultValue": "Power", "i18nValue": {}}),
        ({"i18nValue": {"zh_CN": "功率", "en_US": 1}}, {"defaultValue": "", "i18nValue": {"zh_CN": "功率"}}),
    ],
)
def test_a_point_keeps_its_names_in_all_languages(name: object, title: object) -> None:
    """A command says what it sets, in the words of the model."""
    assert compiled(p=point("INT", name=name)).model.measurepoints["p"].title == title


def test_a_service_is_read_whole() -> None:
    """Inputs and outputs in their order, which of them are required, and what people call it."""
    found = parse(
        limit={
            "identifier": "limit",
            "name": {"defaultValue": "Limit", "i18nValue": {"zh_CN": "限制", "fr_FR": None}},
            "callType": "async",
            "inputData": [
                point("DOUBLE", identifier="percent", minimum=0),
                point("INT", identifier="seconds", required=False),
                point("STRUCT", json.dumps(STRUCT), identifier="window", required=None),
            ],
            "outputData": [point("BOOL", identifier="done", required=True), point("STRING", identifier="note")],
        }
    ).services
    window = ValueType(
        "STRUCT", members=(Member("a", ValueType("INT"), required=True), Member("b", ValueType("STRING")))
    )
    assert found == {
        "limit": Service(
            "limit",
            (
                Member("percent", ValueType("DOUBLE", minimum=0), required=True),
                Member("seconds", ValueType("INT"), required=False),
                Member("window", window, required=True),
            ),
            (Member("done", ValueType("BOOL"), required=True), Member("note", ValueType("STRING"), required=False)),
            call_type="ASYNC",
            name="Limit",
            translations={"zh_CN": "限制"},
        )
    }
    assert found["limit"].title == {"defaultValue": "Limit", "i18nValue": {"zh_CN": "限制"}}


@pytest.mark.parametrize("entry", [{}, {"identifier": None, "inputData": None, "outputData": None, "callType": None}])
def test_a_service_may_say_nothing(entry: dict[str, Any]) -> None:
    """It takes nothing, gives nothing and has no name."""
    found = parse(bare=entry).services["bare"]
    assert found == Service("bare")
    assert found.title is None


@pytest.mark.parametrize("services", [None, {}])
def test_a_model_without_services_is_a_model(services: object) -> None:
    """Most devices only report."""
    assert parse_thing_model({**thing_model(), "services": services}, "m.json").services == {}
    assert parse_thing_model(thing_model(), "m.json").services == {}


@pytest.mark.parametrize("other", [{}, {"inputData": None}])
def test_inputs_have_two_spellings(other: dict[str, Any]) -> None:
    """`intputData` is what the table of the documents says; the right spelling goes before it."""
    entry = [point("INT", identifier="x")]
    assert parse(s={"intputData": entry, **other}).services["s"].inputs[0].identifier == "x"
    assert parse(s={"intputData": entry, "inputData": []}).services["s"].inputs == ()
    wrong = [point("INTEGR", identifier="x")]
    assert refusal(s={"intputData": wrong}).startswith("services.s.intputData[0].dataType: unknown type INTEGR")
    assert refusal(s={"inputData": wrong}).startswith("services.s.inputData[0].dataType: unknown type INTEGR")


@pytest.mark.parametrize(
    ("services", "sentence"),
    [
        ({"set_reply": {}}, "services.set_reply: a service cannot end in _reply: that is the topic of its answers"),
        ({"a/b": {}}, "services.a/b: a service cannot have / + # or NUL in its name, which is part of a topic"),
        ({"+": {}}, "services.+: a service cannot have / + # or NUL in its name, which is part of a topic"),
        ({"#": {}}, "services.#: a service cannot have / + # or NUL in its name, which is part of a topic"),
        ({"\0": {}}, "services.\0: a service cannot have / + # or NUL in its name, which is part of a topic"),
        ({"s": {"identifier": "t"}}, "services.s.identifier: expected the key it stands under, s"),
        (
            {"s": {"inputData": [point("INT", identifier="x"), point("INT", identifier="x")]}},
            "services.s.inputData[1].identifier: a second x",
        ),
        (
            {"s": {"outputData": [point("STRUCT", "[", identifier="x")]}},
            "services.s.outputData[0].dataDefinition: not JSON: unexpected end of data: line 1 column 2 (char 1)",
        ),
        (
            {"s": {"inputData": [point("STRUCT", NESTED, identifier="x")]}},
            "services.s.inputData[0].dataDefinition.items[0].dataType: a STRUCT within a STRUCT is not allowed",
        ),
        ({"s": []}, "services.s: expected an object"),
        ({"s": {"inputData": {}}}, "services.s.inputData: expected an array"),
        ({"s": {"inputData": [point("INT")]}}, "services.s.inputData[0].identifier: missing"),
        ({"s": {"inputData": [{"identifier": "x"}]}}, "services.s.inputData[0].dataType: missing"),
        (
            {"s": {"outputData": [point("INT", identifier="x", required=1)]}},
            "services.s.outputData[0].required: expected a boolean",
        ),
    ],
)  # fmt: skip
def test_a_faulty_service_refuses_its_model(services: dict[str, Any], sentence: str) -> None:
    """The first fault is named with its place, as those of points are."""
    assert refusal(**services) == sentence


def test_services_are_an_object() -> None:
    """A list of them is not the shape of the REST API."""
    with pytest.raises(ModelError, match=r"m\.json: services: expected an object"):
        parse_thing_model({**thing_model(), "services": []}, "m.json")


# ---------------------------------------------------------------------------------------------------------- values


MODEL = compiled(
    plain=point("INT", minimum=0),
    good=point("DOUBLE", hasQuality=True),
    pair=point(
        "STRUCT",
        {"items": [point("INT", identifier="value", required=True), point("INT", identifier="quality")]},
        hasQuality=True,
    ),
)


@pytest.mark.parametrize(
    ("identifier", "value", "sentence"),
    [
        ("plain", 1, ""),
        ("plain", -1, "value: at least 0"),
        ("plain", None, "value: expected an integer"),
        ("plain", {"value": 1, "quality": 0}, "value: expected an integer"),
        ("good", 1.5, ""),
        ("good", "1.5", "value: expected a number"),
        ("good", {"value": 1.5, "quality": 0}, "value: expected a number"),
        ("pair", {"value": 1, "quality": 0}, ""),
        ("pair", {"value": {"value": 1}, "quality": 0}, "value.value: expected an integer"),
        ("pair", {"quality": 0}, "value.value: missing"),
        ("PLAIN", 1, "value: measurement point PLAIN is unknown"),
        ("x" * 300, 1, f"value: measurement point {'x' * 39}… is unknown"),
    ],
)
def test_a_value_to_set_is_plain(identifier: str, value: object, sentence: str) -> None:
    """It is judged by its type alone: no quality goes to a device."""
    assert fault(MODEL.set_fault(identifier, value, ("value",))) == sentence


def test_a_value_nested_without_end_is_a_fault() -> None:
    """What JSON can nest the engines need not."""
    deep: list[Any] = []
    for _ in range(1000):
        deep = [deep]
    found = compiled(a=point("ARRAY", {"itemType": "INT"})).set_fault("a", deep, ("value",))
    assert fault(found).startswith("value[0]: ")


def test_inputs_are_judged_by_their_types() -> None:
    """The required ones must be there, no other may be."""
    found = service(
        inputData=[point("INT", identifier="a"), point("STRUCT", STRUCT, identifier="w", required=False)]
    ).input_fault
    at = ("inputData",)
    assert found({"a": 1}, at) is None
    assert found({"a": 1, "w": {"a": 2}}, at) is None
    assert fault(found({}, at)) == "inputData.a: missing"
    assert fault(found({"a": "1"}, at)) == "inputData.a: expected an integer"
    assert fault(found({"a": 1, "w": {}}, at)) == "inputData.w.a: missing"
    assert fault(found({"a": 1, "x": 1}, at)) == "inputData.x: unknown"
    assert fault(found(None, at)) == "inputData: expected an object"
    assert fault(found([], at)) == "inputData: expected an object"


def test_a_service_that_takes_nothing_is_called_with_nothing() -> None:
    """An empty object, and no other."""
    found = service().input_fault
    assert found({}) is None
    assert fault(found({"a": 1})) == "a: unknown"


def test_outputs_are_judged_less_strictly() -> None:
    """A device may tell more than its model knows; without required outputs it need not tell anything."""
    found = service(outputData=[point("INT", identifier="a", required=True), point("INT", identifier="b")]).output_fault
    assert found({"a": 1}) is None
    assert found({"a": 1, "b": 2, "more": [None]}) is None
    assert fault(found({"a": 1, "b": "2"}, ("data",))) == "data.b: expected an integer"
    assert fault(found(None, ("data",))) == "data.a: missing"
    assert fault(found("a", ("data",))) == "data: expected an object"
    assert service().output_fault(None) is None
    assert service().output_fault({"a": 1}) is None


def test_an_unknown_service_is_none() -> None:
    """Names are case-sensitive."""
    model = CompiledModel(parse(s={}))
    assert model.service("s") is not None
    assert model.service("S") is None


TYPES = {
    "INT": st.integers(-5, 5) | st.floats(-5, 5),
    "BOOL": st.booleans(),
    "STRING": st.text(max_size=3),
}


@settings(max_examples=200, deadline=None)
@given(data=st.data(), closed=st.booleans())
def test_both_engines_agree_on_members(data: st.DataObject, closed: bool) -> None:
    """The engine that judges calls and the reference one have the same verdict."""
    members = [
        Member(
            name, ValueType(data.draw(st.sampled_from(["INT", "BOOL", "STRING"]))), required=data.draw(st.booleans())
        )
        for name in data.draw(st.lists(st.sampled_from("abcd"), unique=True))
    ]
    document = data.draw(st.dictionaries(st.sampled_from("abcde"), st.one_of(*TYPES.values())))
    found = CompiledService(Service("s", tuple(members), tuple(members)))
    verdict = found.input_fault(document) if closed else found.output_fault(document)
    oracle = jsonschema.Draft202012Validator(compile_members(members, closed=closed))
    assert (verdict is None) == oracle.is_valid(document)
