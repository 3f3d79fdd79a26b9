"""Thing-model documents: what is read, what is refused, and in which words."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from enos_ingest.errors import ModelError
from enos_ingest.models.document import Measurepoint, ThingModel, parse_thing_model
from enos_ingest.models.value_type import Member, ValueType
from tests.models.documents import point, thing_model

ENUM = {"enumType": "INT", "enumDesc": {"0": {}, "1": {}, "-7": {}}}
STRUCT = {"items": [{"identifier": "a", "dataType": "INT", "required": True}]}


def parse(*, name: object = None, **measurepoints: object) -> ThingModel:
    """Read a model of these points."""
    return parse_thing_model({**thing_model(**measurepoints), "name": name}, "m.json")


def refusal(document: object) -> str:
    """The sentence that a document is refused with."""
    with pytest.raises(ModelError) as caught:
        parse_thing_model(document, "m.json")
    assert caught.value.source == "m.json"
    return str(caught.value).removeprefix("m.json: ")


def type_of(data_type: str, definition: object = None, **more: object) -> ValueType:
    """The value type that an entry is read as."""
    return parse(p=point(data_type, definition, **more)).measurepoints["p"].type


def test_model_is_read_with_what_people_need_to_know_it() -> None:
    """Names, units and quality are read, what the model holds besides is left alone."""
    model = parse(
        name={"defaultValue": "Inverter", "i18nValue": {"zh_CN": "逆变器"}},
        Power=point(
            "DOUBLE",
            identifier="Power",
            name={"defaultValue": "Power", "i18nValue": {}},
            unit={"unitId": "W", "multiplier": "KILO"},
            hasQuality=True,
            signalType="AI",
        ),
        temp=point("FLOAT", name="Temperature", unit="℃", hasQuality=None),
        bare={"dataType": "BOOL", "identifier": None, "unit": {"unitId": None}},
    )
    assert model.model_id == "m"
    assert model.name == "Inverter"
    assert model.source == "m.json"
    assert model.measurepoints == {
        "Power": Measurepoint("Power", ValueType("DOUBLE"), has_quality=True, name="Power", unit="W"),
        "temp": Measurepoint("temp", ValueType("FLOAT"), name="Temperature", unit="℃"),
        "bare": Measurepoint("bare", ValueType("BOOL")),
    }


def test_model_without_points_is_a_model() -> None:
    """A product may have attributes only."""
    assert parse().measurepoints == {}


@pytest.mark.parametrize(
    ("name", "data_type"),
    [
        *((name, name) for name in ("BOOL", "DATE", "DOUBLE", "FILE", "FLOAT", "INT", "STRING", "TIMESTAMP")),
        ("boolean", "BOOL"),
        ("date", "DATE"),
        ("dateTime", "TIMESTAMP"),
        ("DATETIME", "TIMESTAMP"),
        ("double", "DOUBLE"),
        ("Float", "FLOAT"),
        ("integer", "INT"),
        ("string", "STRING"),
    ],
)
def test_both_vocabularies_name_the_same_types(name: str, data_type: str) -> None:
    """The names of the model API and of the newer modelling tool are read in any case."""
    assert type_of(name).data_type == data_type


def test_types_with_a_definition_are_read_in_both_vocabularies() -> None:
    """enum, array and object are ENUM, ARRAY and STRUCT, down to the names within their definitions."""
    assert type_of("enum", {**ENUM, "enumType": "integer"}) == ValueType("ENUM", choices=(0, 1, -7))
    assert type_of("ENUM", {"enumType": "string", "enumDesc": {"on": {}}}) == ValueType("ENUM", choices=("on",))
    assert type_of("array", {"itemType": "double"}) == ValueType("ARRAY", item_type="DOUBLE")
    assert type_of("ARRAY", {"itemType": "STRING", "maxLength": 5}).max_length == 5
    assert type_of("object", STRUCT).members == (Member("a", ValueType("INT"), required=True),)
    assert type_of("STRING", {"maxLength": 7.0}) == ValueType("STRING", max_length=7)


@pytest.mark.parametrize("text", ["", "null", "{}"])
def test_definition_may_be_a_text_that_says_nothing(text: str) -> None:
    """An empty definition in a JSON text is none."""
    assert type_of("STRING", text) == ValueType("STRING")


def test_definition_may_be_a_text_of_json() -> None:
    """Definitions of points and of members of structs are read alike, as JSON and as a text of it."""
    member = {"identifier": "e", "dataType": "ENUM", "dataDefinition": json.dumps(ENUM)}
    expected = ValueType("STRUCT", members=(Member("e", ValueType("ENUM", choices=(0, 1, -7))),))
    assert type_of("STRUCT", {"items": [member]}) == expected
    assert type_of("STRUCT", json.dumps({"items": [member]})) == expected


def test_bounds_may_stand_on_the_point_or_in_its_definition() -> None:
    """The point's own bound goes before that of its definition, null is none."""
    definition = {"minimum": 0, "maximum": 5, "exclusiveMinimum": -1, "exclusiveMaximum": None}
    assert type_of("INT", definition, maximum=4, minimum=None) == ValueType(
        "INT", minimum=0, maximum=4, exclusive_minimum=-1
    )
    assert type_of("INT", None, minimum=1, maximum=1, exclusiveMaximum=1.5) == ValueType(
        "INT", minimum=1, maximum=1, exclusive_maximum=1.5
    )


KNOWN = "ARRAY, BOOL, DATE, DOUBLE, ENUM, FILE, FLOAT, INT, STRING, STRUCT, TIMESTAMP"
DEFINITION = "measurepoints.p.dataDefinition"


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (7, "measurepoints.p: expected an object"),
        ({}, "measurepoints.p.dataType: missing"),
        (point("INT", identifier="q"), "measurepoints.p.identifier: expected the key it stands under, p"),
        (point("INT", hasQuality="yes"), "measurepoints.p.hasQuality: expected a boolean"),
        (point("INT", name=7), "measurepoints.p.name: expected an object or a string"),
        (point("INT", unit=7), "measurepoints.p.unit: expected an object or a string"),
        (point("LONG"), f"measurepoints.p.dataType: unknown type LONG: expected one of {KNOWN}"),
        (point("Map"), "measurepoints.p.dataType: the type map is not supported: use STRUCT and name its members"),
        (point("INT", 7), f"{DEFINITION}: expected an object or a string"),
        (point("INT", "{"), f"{DEFINITION}: not JSON: unexpected end of data: line 1 column 2 (char 1)"),
        (point("INT", "[]"), f"{DEFINITION}: expected an object, or a JSON text that holds one"),
        (point("INT", '"{}"'), f"{DEFINITION}: expected an object, or a JSON text that holds one"),
        (point("INT", '{"minimum": "0"}'), f"{DEFINITION}.minimum: expected a number"),
        (point("INT", maximum="9"), "measurepoints.p.maximum: expected a number"),
        (point("INT", exclusiveMaximum=True), "measurepoints.p.exclusiveMaximum: expected a number"),
        (
            point("INT", minimum=2, maximum=1),
            "measurepoints.p: no number is allowed between the minimum 2 and the maximum 1",
        ),
        (
            point("FLOAT", {"minimum": 2}, exclusiveMaximum=2),
            "measurepoints.p: no number is allowed between the minimum 2 and the maximum 2",
        ),
        (
            point("DOUBLE", exclusiveMinimum=2, maximum=2),
            "measurepoints.p: no number is allowed between the minimum 2 and the maximum 2",
        ),
        (
            point("DOUBLE", exclusiveMinimum=2, exclusiveMaximum=1.5),
            "measurepoints.p: no number is allowed between the minimum 2 and the maximum 1.5",
        ),
        (point("STRING", {"maxLength": 0}), f"{DEFINITION}.maxLength: at least 1"),
        (point("STRING", {"maxLength": "9"}), f"{DEFINITION}.maxLength: expected an integer"),
        (point("ENUM"), f"{DEFINITION}.enumDesc: expected an object with the values of the ENUM as keys"),
        (
            point("ENUM", {"enumType": "INT", "enumDesc": {}}),
            f"{DEFINITION}.enumDesc: expected an object with the values of the ENUM as keys",
        ),
        (point("ENUM", {"enumDesc": {"1": {}}}), f"{DEFINITION}.enumType: expected INT or STRING"),
        (point("ENUM", {**ENUM, "enumType": "FLOAT"}), f"{DEFINITION}.enumType: expected INT or STRING"),
        *(
            (
                point("ENUM", {"enumType": "INT", "enumDesc": {key: {}}}),
                f"{DEFINITION}.enumDesc.{key}: as a key: expected an integer of 32 bits",
            )
            for key in ("on", "01", "-0", "1.0", "2147483648", "-2147483649", "9" * 30, "1\n", "٣")
        ),
        (point("ARRAY"), f"{DEFINITION}.itemType: missing"),
        (point("ARRAY", {"itemType": "LONG"}), f"{DEFINITION}.itemType: unknown type LONG: expected one of {KNOWN}"),
        (
            point("ARRAY", {"itemType": "STRUCT"}),
            f"{DEFINITION}.itemType: expected one of BOOL, DATE, DOUBLE, FILE, FLOAT, INT, STRING, TIMESTAMP",
        ),
        (point("STRUCT"), f"{DEFINITION}.items: expected the members of the STRUCT, at least one"),
        (point("STRUCT", {"items": []}), f"{DEFINITION}.items: expected the members of the STRUCT, at least one"),
        (point("STRUCT", {"items": [7]}), f"{DEFINITION}.items[0]: expected an object"),
        (point("STRUCT", '{"items": [7]}'), f"{DEFINITION}.items[0]: expected an object"),
        (point("STRUCT", {"items": 7}), f"{DEFINITION}.items: expected an array"),
        (point("STRUCT", {"items": [point("INT")]}), f"{DEFINITION}.items[0].identifier: missing"),
        (
            point("STRUCT", {"items": [point("INT", "{", identifier="a")]}),
            f"{DEFINITION}.items[0].dataDefinition: not JSON: unexpected end of data: line 1 column 2 (char 1)",
        ),
        (
            point("STRUCT", {"items": [*STRUCT["items"], *STRUCT["items"]]}),
            f"{DEFINITION}.items[1].identifier: a second member a",
        ),
        (
            point("STRUCT", {"items": [point("object", STRUCT, identifier="a")]}),
            f"{DEFINITION}.items[0].dataType: a STRUCT within a STRUCT is not allowed",
        ),
        (
            point("STRUCT", {"items": [point("INT", identifier="a", minimum=2, maximum=1)]}),
            f"{DEFINITION}.items[0]: no number is allowed between the minimum 2 and the maximum 1",
        ),
    ],
)
def test_entry_that_cannot_be_used_is_refused(entry: object, text: str) -> None:
    """One sentence says which file, where in it, and what was expected."""
    assert refusal(thing_model(p=entry)) == text


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ([], "$: expected an object"),
        ({"measurepoints": {}}, "modelId: missing"),
        ({"modelId": "", "measurepoints": {}}, "modelId: at least 1 character"),
        ({"modelId": "m"}, "measurepoints: missing"),
        ({"modelId": "m", "measurepoints": None}, "measurepoints: expected an object"),
        ({"modelId": "m", "measurepoints": {"": point("INT")}}, "measurepoints.: as a name: at least 1 character"),
        ({"modelId": "m", "measurepoints": {}, "name": 7}, "name: expected an object or a string"),
    ],
)
def test_document_of_another_shape_is_refused(document: object, text: str) -> None:
    """A document that is no thing model is told so."""
    assert refusal(document).removeprefix("$: ") == text.removeprefix("$: ")


def test_document_that_one_engine_alone_accepts_is_refused() -> None:
    """Both JSON Schema engines must agree; a tuple, which no parser yields, tells them apart."""
    document = thing_model(p=point("STRUCT", {"items": tuple(STRUCT["items"])}))
    assert refusal(document).startswith(f"{DEFINITION}.items: (")


def test_hostile_nesting_is_refused_like_any_fault() -> None:
    """Structs within structs, as deep as the parser goes, end in one sentence."""
    entry: dict[str, Any] = point("STRUCT", STRUCT, identifier="a")
    for _ in range(300):
        entry = point("STRUCT", {"items": [entry]}, identifier="a")
    document = orjson.loads(json.dumps(thing_model(p={**entry, "identifier": "p"})))
    assert refusal(document) == f"{DEFINITION}.items[0].dataType: a STRUCT within a STRUCT is not allowed"
