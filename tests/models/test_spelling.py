"""Misspelt and misplaced members of thing models: refused where they would be lost, and nothing else is."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from enos_ingest.errors import ModelError
from enos_ingest.models.document import parse_thing_model
from tests.models.documents import point, thing_model

MEMBER = {"identifier": "a", "dataType": "INT"}


def refusal(document: dict[str, Any]) -> str:
    """The sentence that a document is refused with."""
    with pytest.raises(ModelError) as caught:
        parse_thing_model(document, "m.json")
    return str(caught.value).removeprefix("m.json: ")


@pytest.mark.parametrize(
    ("more", "meant"),
    [
        ({"acessMode": "R"}, "accessMode"),
        ({"accessmode": "R"}, "accessMode"),
        ({"access_mode": "R"}, "accessMode"),
        ({"AccessMode:": "R"}, "accessMode"),
        ({"hasQualty": True}, "hasQuality"),
        ({"dataDefintion": {"maxLength": 5}}, "dataDefinition"),
        ({"minimun": 1}, "minimum"),
        ({"min": 1}, "minimum"),
        ({"Max": 1}, "maximum"),
        ({"exclusiveMinimun": 1}, "exclusiveMinimum"),
        ({"acessMode": "R", "accessMode": None}, "accessMode"),
    ],
)
def test_a_misspelt_member_of_a_point_is_refused(more: dict[str, Any], meant: str) -> None:
    """With the right name; without it a point that is read-only could be written."""
    name = next(iter(more))
    assert refusal(thing_model(p=point("INT", **more))) == f"measurepoints.p.{name}: unknown: did you mean {meant}?"


@pytest.mark.parametrize(
    ("definition", "name", "meant"),
    [
        ({"maxLenght": 5}, "maxLenght", "maxLength"),
        ({"maxlength": 5}, "maxlength", "maxLength"),
        ('{"maxlength": 5}', "maxlength", "maxLength"),
    ],
)
def test_a_misspelt_member_of_a_definition_is_refused(definition: object, name: str, meant: str) -> None:
    """Also of one that is a JSON text."""
    said = f"measurepoints.p.dataDefinition.{name}: unknown: did you mean {meant}?"
    assert refusal(thing_model(p=point("STRING", definition))) == said


@pytest.mark.parametrize(
    ("data_type", "definition", "name", "meant"),
    [
        ("ENUM", {"enumType": "INT", "enumDecs": {"1": {}}}, "enumDecs", "enumDesc"),
        ("ENUM", {"enumtype": "INT", "enumDesc": {"1": {}}}, "enumtype", "enumType"),
        ("ARRAY", {"itemtype": "INT"}, "itemtype", "itemType"),
        ("STRUCT", {"item": [MEMBER]}, "item", "items"),
    ],
)
def test_what_a_definition_must_have_is_named_where_it_is_misspelt(
    data_type: str, definition: object, name: str, meant: str
) -> None:
    """Rather than said to be missing."""
    said = f"measurepoints.p.dataDefinition.{name}: unknown: did you mean {meant}?"
    assert refusal(thing_model(p=point(data_type, definition))) == said


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"service": {"s": {}}}, "service: unknown: did you mean services?"),
        ({"service": {"s": {}}, "services": {}}, "service: unknown: did you mean services?"),
        ({"Services:": {"s": {}}}, "Services:: unknown: did you mean services?"),
        ({"atributes": {"a": {}}}, "atributes: unknown: did you mean attributes?"),
        ({"event": {"e": {}}}, "event: unknown: did you mean events?"),
        (
            {"services": {"s": {"inputDate": [MEMBER]}}},
            "services.s.inputDate: unknown: did you mean inputData?",
        ),
        (
            {"services": {"s": {"inputData": [{**MEMBER, "requierd": False}]}}},
            "services.s.inputData[0].requierd: unknown: did you mean required?",
        ),
        (
            {"services": {"s": {"intputData": [MEMBER, {**MEMBER, "identifier": "b", "min": 3}]}}},
            "services.s.intputData[1].min: unknown: did you mean minimum?",
        ),
        (
            {"services": {"s": {"outputdata": [MEMBER]}}},
            "services.s.outputdata: unknown: did you mean outputData?",
        ),
        (
            {"events": {"e": {"outputdata": [MEMBER]}}},
            "events.e.outputdata: unknown: did you mean outputData?",
        ),
        (
            {"events": {"e": {"outputData": [point("STRUCT", {"items": [{**MEMBER, "min": 3}]}, identifier="x")]}}},
            "events.e.outputData[0].dataDefinition.items[0].min: unknown: did you mean minimum?",
        ),
        (
            {"attributes": {"a": point("INT", isRequird=True)}},
            "attributes.a.isRequird: unknown: did you mean isRequired?",
        ),
    ],
)
def test_misspelt_members_are_refused_everywhere(document: dict[str, Any], said: str) -> None:
    """Of the model, of services and events, of their inputs and outputs, of members of structs."""
    assert refusal({**thing_model(), **document}) == said


@pytest.mark.parametrize(
    "more",
    [
        {"signalType": "AI", "isStdElement": False, "stdElementId": None},
        {"required": True, "defaultValue": 3, "isRequired": None},
        {"vendorNote": "x", "tag": {}, "minLength": 5, "x": 1, "": 1, "🙂": 1},
        # Nothing is lost by these: they say nothing, or the right one is there.
        {"acessMode": None, "minimun": "", "hasQualty": {}},
        {"accessMode": "R", "acessMode": "RW"},
        {"a" * 1_000_000: 1},
    ],
)
def test_members_that_nothing_here_needs_are_left_alone(more: dict[str, Any]) -> None:
    """Documented ones of every kind of element, and whatever an export may have besides."""
    document = {**thing_model(p=point("DOUBLE", **more)), "modelIdPath": "/m", "orgId": "o", "scope": 0, "extraInfo": 1}
    assert "p" in parse_thing_model(document, "m.json").measurepoints


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (point("STRING", maxLength=5), "maxLength: belongs into dataDefinition"),
        (point("String", "{}", maxLength=5), "maxLength: belongs into dataDefinition"),
        (point("ENUM", {"enumType": "INT"}, enumDesc={"1": {}}), "enumDesc: belongs into dataDefinition"),
        (point("ENUM", {"enumDesc": {"1": {}}}, enumType="INT"), "enumType: belongs into dataDefinition"),
        (point("ARRAY", itemType="INT"), "itemType: belongs into dataDefinition"),
        (point("ARRAY", {"itemType": "STRING"}, maxLength=5), "maxLength: belongs into dataDefinition"),
        (point("STRUCT", items=[MEMBER]), "items: belongs into dataDefinition"),
        (
            point("INT", {"accessMode": "R"}, accessMode=None),
            "dataDefinition.accessMode: belongs beside dataDefinition",
        ),
        (point("INT", {"hasQuality": True}), "dataDefinition.hasQuality: belongs beside dataDefinition"),
        (
            point("STRUCT", {"items": [{"identifier": "a", "dataType": "STRING", "maxLength": 5}]}),
            "dataDefinition.items[0].maxLength: belongs into dataDefinition",
        ),
    ],
)
def test_a_misplaced_member_is_refused(entry: dict[str, Any], said: str) -> None:
    """A text would otherwise be longer than its model says, a point that is read-only be written."""
    assert refusal(thing_model(p=entry)) == f"measurepoints.p.{said}"


@pytest.mark.parametrize(
    "entry",
    [
        point("STRING", {"maxLength": 5}, maxLength=7),
        point("STRING", maxLength=None),
        point("INT", maxLength=5, enumDesc={"1": {}}, items=[]),
        point("ARRAY", {"itemType": "INT"}, maxLength=5),
        point("INT", {"accessMode": "RW"}, accessMode="R"),
        point("DOUBLE", {"minimum": 1}, maximum=2),
    ],
)
def test_a_member_that_stands_in_its_place_too_or_is_not_needed_is_left_alone(entry: dict[str, Any]) -> None:
    """An export may say things twice, and of types that do not have them; bounds are read in both places."""
    assert "p" in parse_thing_model(thing_model(p=entry), "m.json").measurepoints


def test_bounds_matter_to_numbers_alone() -> None:
    """What `min` of a text or an array may mean is not ours."""
    texts = thing_model(p=point("STRING", min=1), q=point("ARRAY", {"itemType": "INT", "max": 3}))
    assert len(parse_thing_model(texts, "m.json").measurepoints) == 2


def test_what_is_not_read_may_hold_anything() -> None:
    """Inputs of an event, a second spelling of inputs, members of members: no check reads them."""
    struct = point("STRUCT", {"items": [{**MEMBER, "dataDefinition": {"items": ["x", 1]}}]})
    document = {
        **thing_model(p=struct),
        "services": {"s": {"inputData": [MEMBER], "intputData": [point("INT", '{"min": 3}', identifier="x")]}},
        "events": {"e": {"inputData": "x"}},
    }
    model = parse_thing_model(orjson.loads(orjson.dumps(document)), "m.json")
    assert [member.identifier for member in model.services["s"].inputs] == ["a"]
