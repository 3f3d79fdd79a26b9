"""A thing model as devices ask for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

import enos_ingest
from enos_ingest.models.catalogue import Catalogue
from enos_ingest.models.document import parse_thing_model
from enos_ingest.models.template import describe
from tests.models.documents import point, thing_model

KEYS = [
    "tslModelId",
    "tslModelName",
    "tslModelDesc",
    "tslModelCatagory",
    "tslAttributeMap",
    "tslMeasurepointMap",
    "tslServiceMap",
    "tslEventMap",
    "tag",
    "allowAdditionalAttribute",
    "inheritedAttributeIds",
    "inheritedMeasurepointIds",
    "inheritedServiceIds",
    "inheritedEventIds",
    "extraInfo",
]
"""What EnOS documents, its spelling included."""

NO_TAGS: dict[str, Any] = {"tagMap": {}}


def template(document: dict[str, Any]) -> dict[str, Any]:
    """The template of a model."""
    return describe(parse_thing_model(document, "m.json"))


def described(entry: dict[str, Any], kind: str = "measurepoints") -> dict[str, Any]:
    """How one point or attribute `p` is described."""
    document = {**thing_model(), kind: {"p": entry}}
    maps = {"measurepoints": "tslMeasurepointMap", "attributes": "tslAttributeMap"}
    found: dict[str, Any] = template(document)[maps[kind]]["p"]
    return found


def test_an_empty_model_has_every_key() -> None:
    """With the value that says nothing."""
    found = template({"modelId": "xfgBHRXU", "measurepoints": {}})
    assert list(found) == KEYS
    assert found == {
        "tslModelId": "xfgBHRXU",
        **dict.fromkeys(["tslModelName", "tslModelDesc", "tslModelCatagory"], ""),
        **{key: {} for key in KEYS if key.endswith("Map") or key == "extraInfo"},
        "tag": NO_TAGS,
        "allowAdditionalAttribute": False,
        **{key: [] for key in KEYS if key.startswith("inherited")},
    }


def test_the_documents_own_attribute() -> None:
    """All that their sample shows of one, and its type beside it."""
    entry = {
        "dataType": "INT",
        "name": {"defaultValue": "test", "i18nValue": {"zh_CN": "测试"}},
        "desc": "1",
        "unit": {"unitId": "rad/s", "multiplier": "ONE"},
        "defaultValue": 1.0,
        "tags": {},
    }
    assert described(entry, "attributes") == {
        "minimum": -2147483648,
        "maximum": 2147483647,
        "exclusiveMinimum": False,
        "exclusiveMaximum": False,
        "defaultValue": 1.0,
        "unit": {"unitId": "rad/s", "multiplier": "ONE"},
        "hasQuality": False,
        "name": "test",
        "desc": "1",
        "required": False,
        "accessMode": True,
        "tags": NO_TAGS,
        "identifier": "p",
        "dataType": "INT",
        "dataDefinition": None,
    }


def test_what_a_model_says_of_itself() -> None:
    """Names are those of the default language; tags and definitions are as the file has them."""
    document = {
        **thing_model("m", p=point("STRING", '{"maxLength": 9}', tags={"a": "b"})),
        "name": {"defaultValue": "Meter", "i18nValue": {"zh_CN": "表"}},
        "desc": "of a plant",
        "category": "meters",
        "tags": {"kind": "virtual"},
    }
    found = template(document)
    assert (found["tslModelName"], found["tslModelDesc"], found["tslModelCatagory"]) == (
        "Meter",
        "of a plant",
        "meters",
    )
    assert found["tag"] == {"tagMap": {"kind": "virtual"}}
    assert found["tslMeasurepointMap"]["p"]["tags"] == {"tagMap": {"a": "b"}}
    assert found["tslMeasurepointMap"]["p"]["dataDefinition"] == {"maxLength": 9}


@pytest.mark.parametrize(
    ("entry", "minimum", "maximum"),
    [
        (point("INT"), (-(2**31), False), (2**31 - 1, False)),
        (point("FLOAT"), (None, False), (None, False)),
        (point("DOUBLE", minimum=0, maximum=1.5), (0, False), (1.5, False)),
        (point("DOUBLE", exclusiveMinimum=0, exclusiveMaximum=1.5), (0, True), (1.5, True)),
        (point("INT", minimum=0, exclusiveMinimum=5), (5, True), (2**31 - 1, False)),
        (point("INT", minimum=5, exclusiveMinimum=0), (5, False), (2**31 - 1, False)),
        (point("INT", minimum=5, exclusiveMinimum=5), (5, True), (2**31 - 1, False)),
        (point("INT", maximum=0, exclusiveMaximum=5), (-(2**31), False), (0, False)),
        (point("INT", maximum=5, exclusiveMaximum=0), (-(2**31), False), (0, True)),
        (point("INT", {"minimum": 1, "maximum": 2}), (1, False), (2, False)),
    ],
)
def test_bounds_are_numbers_with_a_flag(
    entry: dict[str, Any], minimum: tuple[float | None, bool], maximum: tuple[float | None, bool]
) -> None:
    """The narrower of two bounds counts."""
    found = described(entry)
    assert (found["minimum"], found["exclusiveMinimum"]) == minimum
    assert (found["maximum"], found["exclusiveMaximum"]) == maximum


def test_what_is_no_number_has_no_bounds() -> None:
    """Its definition says what there is to say."""
    assert "minimum" not in described(point("STRING"))
    assert "exclusiveMaximum" not in described(point("BOOL"))


@pytest.mark.parametrize(
    ("more", "member", "expected"),
    [
        ({"unit": "V"}, "unit", {"unitId": "V", "multiplier": "ONE"}),
        ({"unit": {"unitId": "W", "multiplier": "KILO"}}, "unit", {"unitId": "W", "multiplier": "KILO"}),
        ({"accessMode": "R"}, "accessMode", False),
        ({"accessMode": "rw"}, "accessMode", True),
        ({"accessMode": None}, "accessMode", True),
        ({"hasQuality": True}, "hasQuality", True),
        ({"tags": None}, "tags", NO_TAGS),
        ({"tags": ["a"]}, "tags", NO_TAGS),
        ({"desc": {"defaultValue": "text"}}, "desc", "text"),
        ({"desc": None}, "desc", ""),
        ({"defaultValue": False}, "defaultValue", False),
        ({"dataType": "integer"}, "dataType", "INT"),
    ],
)
def test_what_a_point_says(more: dict[str, Any], member: str, expected: object) -> None:
    """In the words of the documents, whichever of several spellings the file has."""
    assert described({**point("INT"), **more})[member] == expected


@pytest.mark.parametrize("more", [{}, {"unit": None}, {"unit": ""}, {"unit": {}}, {"defaultValue": None}])
def test_what_a_point_does_not_have_is_left_out(more: dict[str, Any]) -> None:
    """As in the documents' samples."""
    assert not {"unit", "defaultValue"} & set(described({**point("INT"), **more}))


def test_services_and_events_list_what_they_take_and_give() -> None:
    """In order, with what is required; also with the inputs spelled as in one table of the documents."""
    document = {
        **thing_model(),
        "services": {
            "restart": {
                "intputData": [point("INT", identifier="delay"), point("BOOL", identifier="hard", required=False)],
                "callType": "async",
                "desc": "after a while",
            },
            "stop": {},
        },
        "events": {"fault": {"outputData": [point("STRING", identifier="text", required=True)], "eventType": "WARN"}},
    }
    found = template(document)
    restart, stop = found["tslServiceMap"].values()
    assert [(each["identifier"], each["required"]) for each in restart["inputData"]] == [
        ("delay", True),
        ("hard", False),
    ]
    assert (restart["identifier"], restart["callType"], restart["desc"]) == ("restart", "ASYNC", "after a while")
    assert restart["inputData"][0]["accessMode"] is False
    assert (stop["inputData"], stop["outputData"]) == ([], [])
    fault = found["tslEventMap"]["fault"]
    assert (fault["identifier"], fault["eventType"]) == ("fault", "WARN")
    assert [(each["identifier"], each["dataType"], each["required"]) for each in fault["outputData"]] == [
        ("text", "STRING", True)
    ]


def test_the_samples_are_told_whole() -> None:
    """Each element of each sample model is there, and all of it is JSON; asked again it is the same object."""
    for compiled in Catalogue.load(Path(enos_ingest.__file__).parent / "schemas" / "models").models():
        model = compiled.model
        found = compiled.template
        assert list(found["tslAttributeMap"]) == list(model.attributes)
        assert list(found["tslMeasurepointMap"]) == list(model.measurepoints)
        assert list(found["tslServiceMap"]) == list(model.services)
        assert list(found["tslEventMap"]) == list(model.events)
        assert orjson.loads(orjson.dumps(found)) == found
        assert compiled.template is found
