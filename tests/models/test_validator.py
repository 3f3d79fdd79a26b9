"""Values against their types: what each type accepts and refuses, quality, faults."""

from __future__ import annotations

from typing import Any

import jsonschema
import orjson
import pytest

from enos_ingest.errors import SchemaError
from enos_ingest.models.validator import UNSPLIT
from tests.models.documents import compiled, point

INT_ENUM = point("ENUM", {"enumType": "INT", "enumDesc": {"0": {}, "1": {}, "-7": {}}})
TEXT_ENUM = point("ENUM", {"enumType": "STRING", "enumDesc": {"on": {}, "1": {}}})
STRUCT = point(
    "STRUCT",
    {
        "items": [
            point("INT", identifier="a", required=True, minimum=0),
            point("STRING", {"maxLength": 2}, identifier="b"),
            point("ARRAY", {"itemType": "INT"}, identifier="c", required=False),
        ]
    },
)
LOOKALIKE = point(
    "STRUCT",
    {"items": [point("INT", identifier="value", required=True), point("INT", identifier="quality", required=True)]},
)


def array(item_type: str) -> dict[str, Any]:
    """An array point."""
    return point("ARRAY", {"itemType": item_type})


MAX_FLOAT = 3.4028234663852886e38

ACCEPTED: dict[str, tuple[dict[str, Any], list[Any]]] = {
    "INT": (point("INT"), [0, -0.0, 1, -1, 3.0, 2147483647, -2147483648, 2147483647.0]),
    "FLOAT": (point("FLOAT"), [0, 1, 1.02, -1e30, MAX_FLOAT, -MAX_FLOAT, 2**64 - 1]),
    "DOUBLE": (point("DOUBLE"), [0, 1, 1.02, 1e308, -1e308, 2**64 - 1, -(2**63)]),
    "STRING": (point("STRING"), ["", "x" * 1024, "逆" * 1024, "😀" * 1024, "a\nb"]),
    "STRING of 3": (point("STRING", {"maxLength": 3}), ["", "abc", "😀😀😀"]),
    "BOOL": (point("BOOL"), [True, False]),
    "ENUM of INT": (INT_ENUM, [0, 1, -7, 1.0, -0.0]),
    "ENUM of STRING": (TEXT_ENUM, ["on", "1"]),
    "ARRAY of INT": (array("INT"), [[], [1, 2], ["1", "-2", 3.0], ["007", "-0"], ["2147483647", "-2147483648"]]),
    "ARRAY of FLOAT": (array("FLOAT"), [[], [1.02, 2], ["1.02", "2.02", "7.93"], [1, "2e5", "-1.5E-3"]]),
    "ARRAY of DOUBLE": (array("DOUBLE"), [[1.02, 1e308], ["1.02", 3], ["1e400", "0"]]),
    "ARRAY of STRING": (array("STRING"), [[], ["a", ""], ["x" * 1024]]),
    "ARRAY of STRING of 2": (point("ARRAY", {"itemType": "STRING", "maxLength": 2}), [["ab"]]),
    "ARRAY of BOOL": (array("BOOL"), [[], [True, False]]),
    "ARRAY of DATE": (array("DATE"), [["2024-09-30"]]),
    "ARRAY of TIMESTAMP": (array("TIMESTAMP"), [[1, "2024-09-30T15:30:00Z"]]),
    "ARRAY of FILE": (array("FILE"), [["local://a"]]),
    "STRUCT": (STRUCT, [{"a": 1}, {"a": 0, "b": "xy"}, {"c": ["1"], "a": 2.0}]),
    "STRUCT of value and quality": (LOOKALIKE, [{"value": 1, "quality": 2}]),
    "DATE": (point("DATE"), ["2024-09-30", "2024-09-30 15:30:00", "9999-99-99"]),
    "TIMESTAMP": (
        point("TIMESTAMP"),
        [
            *(0, 1727710200123, -1, 1e12, 2**63),
            *("2024-09-30T15:30:00.123Z", "2024-09-30T15:30:00", "2024-09-30T15:30", "2024-09-30T15:30:00,5+08:00"),
            *("2024-09-30T15:30:00-0300", "2024-09-30T15:30+08"),
        ],
    ),
    "FILE": (point("FILE"), ["enos-connect://a/b.txt", "local://文件.txt", "urn:x"]),
    "INT from 0 to 10": (point("INT", minimum=0, maximum=10), [0, 10, 10.0]),
    "FLOAT between 0 and 1": (point("FLOAT", exclusiveMinimum=0, exclusiveMaximum=1), [0.1, 5e-324]),
    "DOUBLE from 0.5": (point("DOUBLE", {"minimum": 0.5}), [0.5, 1, 1e300]),
    "INT with wide bounds": (point("INT", minimum=-1e300, maximum=2**64 - 1), [0, 2147483647]),
    "INT with quality": (
        point("INT", hasQuality=True),
        [1, {"value": 1, "quality": 9}, {"quality": 9.0, "value": 3.0}],
    ),
    "BOOL with quality": (point("BOOL", hasQuality=True), [True, {"value": False, "quality": -1}]),
    "ARRAY with quality": ({**array("INT"), "hasQuality": True}, [[1], {"value": [1], "quality": 0}]),
    "TIMESTAMP with quality": (
        point("TIMESTAMP", hasQuality=True),
        [1, "2024-09-30T15:30", {"value": "2024-09-30T15:30", "quality": 0}],
    ),
    "STRUCT with quality": ({**STRUCT, "hasQuality": True}, [{"a": 1}, {"value": {"a": 1}, "quality": 0}]),
    "STRUCT of value and quality with quality": (
        {**LOOKALIKE, "hasQuality": True},
        [{"value": 1, "quality": 2}, {"value": {"value": 1, "quality": 2}, "quality": 9}],
    ),
}

NUMBER_LIKE = [True, False, None, "", "1", "x", [], [1], {}, {"value": 1, "quality": 9}]

REFUSED: dict[str, tuple[dict[str, Any], list[Any]]] = {
    "INT": (point("INT"), [*NUMBER_LIKE, 1.5, 2147483648, -2147483649, 2147483648.0, 2**64 - 1, 1e300]),
    "FLOAT": (point("FLOAT"), [*NUMBER_LIKE, 3.41e38, -3.41e38, 1e308]),
    "DOUBLE": (point("DOUBLE"), [*NUMBER_LIKE]),
    "STRING": (point("STRING"), [1, True, None, [], {}, "x" * 1025, "😀" * 1025]),
    "STRING of 3": (point("STRING", {"maxLength": 3}), ["abcd", "abc\n", "😀😀😀😀"]),
    "BOOL": (point("BOOL"), [0, 1, 0.0, "true", "", None, [], {"value": True, "quality": 1}]),
    "ENUM of INT": (INT_ENUM, [2, -1, "0", "1", 0.5, True, False, None, [0], 2**63]),
    "ENUM of STRING": (TEXT_ENUM, [1, "off", "", "on\n", "ON", True, None]),
    "ARRAY of INT": (
        array("INT"),
        [
            *(1, "1", None, {}, {"0": 1}, [True], [None], [[1]], [1.5], [2147483648]),
            *(["1.5"], ["1.0"], ["1e3"], [""], ["-"], ["+1"], [" 1"], ["1\n"], ["٣"], ["1", "x"]),
            *(["2147483648"], ["-2147483649"], ["9999999999"], ["0002147483648"], ["-2147483648\n"]),
        ],
    ),
    "ARRAY of FLOAT": (
        array("FLOAT"),
        [1.0, ["1."], [".5"], ["1e"], ["NaN"], ["inf"], ["1,5"], ["1\n"], [3.5e38], [True]],
    ),
    "ARRAY of DOUBLE": (array("DOUBLE"), ["1", ["x"], ["0x1"], ["1.5\n"], ["１"], [None], [[]], [{}]]),
    "ARRAY of STRING": (array("STRING"), ["a", [1], [None], ["x" * 1025]]),
    "ARRAY of STRING of 2": (point("ARRAY", {"itemType": "STRING", "maxLength": 2}), [["abc"]]),
    "ARRAY of BOOL": (array("BOOL"), [[0], ["true"]]),
    "ARRAY of DATE": (array("DATE"), [["x"], [20240930]]),
    "ARRAY of TIMESTAMP": (array("TIMESTAMP"), [[1.5], ["x"]]),
    "ARRAY of FILE": (array("FILE"), [["a"], [1]]),
    "STRUCT": (
        STRUCT,
        [
            *({}, {"b": "x"}, {"a": 1, "d": 1}, {"a": "1"}, {"a": -1}, {"a": 1, "b": "xyz"}, {"a": 1, "c": ["x"]}),
            *({"a": None}, {"A": 1}, [], "a", 1, None, {"value": {"a": 1}, "quality": 1}),
        ],
    ),
    "STRUCT of value and quality": (
        LOOKALIKE,
        [{"value": 1}, {"value": {"value": 1, "quality": 2}, "quality": 9}, {"value": 1, "quality": "9"}],
    ),
    "DATE": (
        point("DATE"),
        [
            *("2024-9-30", "2024-09-30T15:30:00", "2024-09-30 15:30", "2024-09-30\n", "2024-09-30 15:30:00\n", ""),
            *("x2024-09-30", "2024-09-30 ", "２024-09-30", "20240930", 20240930, None),
        ],
    ),
    "TIMESTAMP": (
        point("TIMESTAMP"),
        [
            *(1.5, True, None, "", "1727710200123", "2024-09-30", "2024-09-30 15:30:00", "2024-09-30T15:30:00Z\n"),
            *("2024-09-30t15:30:00z", "2024-09-30T15:30:00.Z", "2024-09-30T15:30:00+8", "2024-09-30T15", []),
        ],
    ),
    "FILE": (point("FILE"), ["", "a.txt", "://a", "local:", "1a:b", "a:b c", "a:b\n", "a:\u007f", 1, None]),
    "INT from 0 to 10": (point("INT", minimum=0, maximum=10), [-1, 11, 10.5]),
    "FLOAT between 0 and 1": (point("FLOAT", exclusiveMinimum=0, exclusiveMaximum=1), [0, 1, 0.0, 1.0, -0.0]),
    "DOUBLE from 0.5": (point("DOUBLE", {"minimum": 0.5}), [0.4999999, 0, -1]),
    "INT with wide bounds": (point("INT", minimum=-1e300, maximum=2**64 - 1), [2147483648, -2147483649]),
    "INT with quality": (
        point("INT", hasQuality=True),
        [
            *({"value": 1}, {"quality": 1}, {}, {"value": 1, "quality": 1, "more": 1}, {"value": 1, "quality": 1.5}),
            *({"value": 1, "quality": True}, {"value": 1, "quality": None}, {"value": 1, "quality": "9"}),
            *({"value": 1, "quality": 2147483648}, {"value": "1", "quality": 9}, {"value": None, "quality": 9}),
            *({"Value": 1, "quality": 9}, {"value": {"value": 1, "quality": 9}, "quality": 9}, 1.5, "1"),
        ],
    ),
    "BOOL with quality": (point("BOOL", hasQuality=True), [1, {"value": 1, "quality": 1}]),
    "ARRAY with quality": (
        {**array("INT"), "hasQuality": True},
        [[{"value": 1, "quality": 1}], {"value": 1, "quality": 0}],
    ),
    "TIMESTAMP with quality": (point("TIMESTAMP", hasQuality=True), ["x", {"value": "x", "quality": 0}]),
    "STRUCT with quality": (
        {**STRUCT, "hasQuality": True},
        [{"value": {"a": "1"}, "quality": 0}, {"value": {"a": 1}}, {"a": 1, "quality": 0}, {"value": 1, "quality": 0}],
    ),
    "STRUCT of value and quality with quality": (
        {**LOOKALIKE, "hasQuality": True},
        [{"value": {"value": 1}, "quality": 9}, {"value": "1", "quality": 9}, {"value": {}, "quality": 9}],
    ),
}


def cases(table: dict[str, tuple[dict[str, Any], list[Any]]]) -> list[Any]:
    """One test case a value, named by its type."""
    return [
        pytest.param(entry, value, id=f"{name}-{index}")
        for name, (entry, values) in table.items()
        for index, value in enumerate(values)
    ]


def test_every_type_is_accepted_and_refused() -> None:
    """The two tables speak of the same types."""
    assert ACCEPTED.keys() == REFUSED.keys()


@pytest.mark.parametrize(("entry", "value"), cases(ACCEPTED))
def test_value_of_its_type_is_accepted(entry: dict[str, Any], value: object) -> None:
    """Both engines accept it, alone and in the whole map."""
    model = compiled(p=entry)
    assert model.is_valid({"p": value})
    assert model.point_fault("p", value) is None
    model.check({"p": value})
    assert jsonschema.Draft202012Validator(model.schema).is_valid({"p": value})


@pytest.mark.parametrize(("entry", "value"), cases(REFUSED))
def test_value_of_another_kind_is_refused(entry: dict[str, Any], value: object) -> None:
    """It is a fault within the point, one short sentence; both engines refuse it."""
    model = compiled(p=entry)
    assert not model.is_valid({"p": value})
    fault = model.point_fault("p", value, ("params",))
    assert fault is not None
    assert fault.path[:2] == ("params", "p")
    assert len(str(fault)) < 150
    with pytest.raises(SchemaError) as caught:
        model.check({"p": value}, ("params",))
    assert str(caught.value) == str(fault)
    assert not jsonschema.Draft202012Validator(model.schema).is_valid({"p": value})


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_refused(number: float) -> None:
    """No parser of ours yields these, and no type takes them."""
    model = compiled(f=point("FLOAT"), d=point("DOUBLE"), q=point("DOUBLE", hasQuality=True))
    assert all(model.point_fault(identifier, number) is not None for identifier in "fdq")
    assert model.point_fault("q", {"value": number, "quality": 0}) is not None


QUALITY = "or an object with value and quality"


@pytest.mark.parametrize(
    ("entry", "value", "text"),
    [
        (point("INT"), "1", "p: expected an integer"),
        (point("INT"), 2**31, "p: at most 2147483647"),
        (point("FLOAT"), True, "p: expected a number"),
        (point("INT", minimum=0), -1, "p: at least 0"),
        (point("INT", exclusiveMinimum=0), 0, "p: more than 0"),
        (point("STRING"), "x" * 1025, "p: at most 1024 characters"),
        (point("BOOL"), 1, "p: expected a boolean"),
        (INT_ENUM, 5, "p: expected one of 0, 1, -7"),
        (INT_ENUM, "1", "p: expected an integer"),
        (array("INT"), [1, "x"], "p[1]: expected an integer of 32 bits, also as a string"),
        (array("INT"), [2**31], "p[0]: at most 2147483647"),
        (array("DOUBLE"), [None], "p[0]: expected a number, also as a decimal string"),
        (array("DOUBLE"), 1, "p: expected an array"),
        (STRUCT, {"a": 1, "d": 2}, "p.d: unknown"),
        (STRUCT, {}, "p.a: missing"),
        (point("DATE"), "today", "p: expected a date, YYYY-MM-DD or YYYY-MM-DD HH:MM:SS"),
        (point("DATE"), 1, "p: expected a date, YYYY-MM-DD or YYYY-MM-DD HH:MM:SS"),
        (point("TIMESTAMP"), "now", "p: expected a timestamp, epoch milliseconds or ISO 8601"),
        (point("FILE"), "x", "p: expected a URI"),
        (point("INT", hasQuality=True), "x", f"p: expected an integer, {QUALITY}"),
        (point("INT", hasQuality=True), {"value": "x", "quality": 1}, "p.value: expected an integer"),
        (point("INT", hasQuality=True), {"value": 1, "quality": "x"}, "p.quality: expected an integer"),
        (point("INT", hasQuality=True), {"value": 1}, "p.quality: missing"),
        (point("DATE", hasQuality=True), "x", "p: expected a date, YYYY-MM-DD or YYYY-MM-DD HH:MM:SS"),
        (point("TIMESTAMP", hasQuality=True), "x", f"p: expected a timestamp, {QUALITY}"),
        ({**STRUCT, "hasQuality": True}, {"a": "x"}, "p.a: expected an integer"),
        ({**STRUCT, "hasQuality": True}, {"value": {"a": "x"}, "quality": 1}, "p.value.a: expected an integer"),
        ({**INT_ENUM, "hasQuality": True}, 5, "p: expected one of 0, 1, -7"),
    ],
)
def test_fault_says_what_was_expected(entry: dict[str, Any], value: object, text: str) -> None:
    """The sentence that ends up in the reply to the device."""
    assert str(compiled(p=entry).point_fault("p", value)) == text


def test_first_fault_of_a_map_is_told() -> None:
    """Points are looked at in the order of the message, with the path that leads to the map."""
    model = compiled(a=point("INT"), b=point("INT"))
    with pytest.raises(SchemaError) as caught:
        model.check({"b": "x", "a": "x"}, ("params", 1, "measurepoints"))
    assert caught.value.path == ("params", 1, "measurepoints", "b")
    assert str(caught.value) == "params[1].measurepoints.b: expected an integer"


def test_unknown_point_is_told_by_its_name() -> None:
    """Identifiers are case-sensitive, and may hold dots."""
    model = compiled(**{"INV.Power": point("INT")})
    assert model.is_valid({"INV.Power": 1})
    assert model.is_valid({})
    assert not model.is_valid({"INV": {"Power": 1}})
    assert str(model.point_fault("INV.power", 1, ("params",))) == "params.INV.power: unknown"
    assert str(model.point_fault("INV", {"Power": 1})) == "INV: unknown"
    with pytest.raises(SchemaError, match=r"^INV\.power: unknown$"):
        model.check({"INV.Power": 1, "INV.power": 1})


@pytest.mark.parametrize("junk", [None, [], "x", 7])
def test_map_must_be_an_object(junk: object) -> None:
    """What is no object has no points."""
    model = compiled(a=point("INT"))
    assert not model.is_valid(junk)
    with pytest.raises(SchemaError, match=r"^params: expected an object$"):
        model.check(junk, ("params",))


@pytest.mark.parametrize("entry", [entry for entry, _ in ACCEPTED.values()])
def test_deep_nesting_is_refused_by_every_type(entry: dict[str, Any]) -> None:
    """A value as deep as the parser lets through is a fault of its point."""
    model = compiled(p=entry)
    for text in ("[" * 1000 + "]" * 1000, '{"value":' * 1000 + "1" + "}" * 1000):
        value = orjson.loads(text)
        assert not model.is_valid({"p": value})
        fault = model.point_fault("p", value)
        assert fault is not None
        assert fault.path[0] == "p"


def test_many_faults_are_told_as_the_first() -> None:
    """Half a megabyte of bad items gets the sentence of the first of them."""
    assert str(compiled(p=array("DOUBLE")).point_fault("p", ["x"] * 100_000)).startswith("p[0]: ")


@pytest.mark.parametrize(
    ("entry", "value", "expected"),
    [
        (point("INT"), 1, (1, None)),
        (point("INT", hasQuality=True), 1, (1, None)),
        (point("INT", hasQuality=True), {"value": 1, "quality": 9}, (1, 9)),
        (point("INT", hasQuality=True), {"value": 3.0, "quality": 9.0}, (3.0, 9)),
        (point("BOOL", hasQuality=True), {"value": True, "quality": 0}, (True, 0)),
        ({**array("INT"), "hasQuality": True}, {"value": ["1"], "quality": -1}, (["1"], -1)),
        (STRUCT, {"a": 1}, ({"a": 1}, None)),
        ({**STRUCT, "hasQuality": True}, {"a": 1}, ({"a": 1}, None)),
        ({**STRUCT, "hasQuality": True}, {"value": {"a": 1}, "quality": 2}, ({"a": 1}, 2)),
        (LOOKALIKE, {"value": 1, "quality": 2}, ({"value": 1, "quality": 2}, None)),
        ({**LOOKALIKE, "hasQuality": True}, {"value": 1, "quality": 2}, ({"value": 1, "quality": 2}, None)),
        (
            {**LOOKALIKE, "hasQuality": True},
            {"value": {"value": 1, "quality": 2}, "quality": 9},
            ({"value": 1, "quality": 2}, 9),
        ),
        (point("DOUBLE"), 2**63 - 1, (2**63 - 1, None)),
        (point("DOUBLE"), -(2**63), (-(2**63), None)),
        (array("DOUBLE"), [1.5, "2", 2**63 - 1, 2**63], ([1.5, "2", 2**63 - 1, 9.223372036854775808e18], None)),
        (array("DOUBLE"), [1.5, "2"], ([1.5, "2"], None)),
        (point("DOUBLE"), 2**63, (9.223372036854775808e18, None)),
        (point("DOUBLE", hasQuality=True), {"value": 2**64 - 1, "quality": 0}, (1.8446744073709552e19, 0)),
    ],
)
def test_split_takes_value_and_quality_apart(
    entry: dict[str, Any], value: object, expected: tuple[Any, int | None]
) -> None:
    """The value proper keeps its JSON type; only integers beyond 64 bits become floating point."""
    model = compiled(p=entry)
    assert model.is_valid({"p": value})
    found = model.split("p", value)
    assert found == expected
    assert [type(part) for part in found] == [type(part) for part in expected]


@pytest.mark.parametrize("value", [1.5, "text", True])
def test_what_need_not_be_split(value: object) -> None:
    """Callers may leave such values as they are, of whatever point."""
    assert type(value) in UNSPLIT
    model = compiled(double=point("DOUBLE", hasQuality=True), struct={**STRUCT, "hasQuality": True}, bool=point("BOOL"))
    for identifier in model.model.measurepoints:
        assert model.split(identifier, value) == (value, None)
