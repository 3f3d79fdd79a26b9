"""Random thing models and values: our verdict, the reference engine's and the protocol's table are the same."""

from __future__ import annotations

import re
from typing import Any

import jsonschema
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enos_ingest.models.document import parse_thing_model
from enos_ingest.models.validator import CompiledModel
from tests.models.documents import thing_model

Entry = dict[str, Any]

# ---------------------------------------------------------------------------------------------- the table, by hand


def is_number(value: Any) -> bool:
    return type(value) in {int, float}


def is_integer(value: Any) -> bool:
    return is_number(value) and value == int(value)


def is_int32(value: Any) -> bool:
    return is_integer(value) and -(2**31) <= value < 2**31


def is_single(value: Any) -> bool:
    return is_number(value) and abs(value) <= 3.4028234663852886e38


def shape(text: Any) -> str:
    """A text with every digit as 9, "" for what is no text."""
    return re.sub("[0-9]", "9", text) if isinstance(text, str) else ""


def is_decimal(text: Any) -> bool:
    mantissa, e, exponent = shape(text).replace("E", "e").partition("e")
    whole, point, fraction = mantissa.removeprefix("-").partition(".")
    unsigned = exponent[1:] if exponent[:1] in {"+", "-"} else exponent
    return is_nines(whole) and (not point or is_nines(fraction)) and (not e or is_nines(unsigned))


def is_nines(text: str) -> bool:
    return bool(text) and set(text) == {"9"}


def is_integer_text(text: Any) -> bool:
    return is_nines(shape(text).removeprefix("-")) and -(2**31) <= int(text) < 2**31


def is_date(value: Any) -> bool:
    return shape(value) in {"9999-99-99", "9999-99-99 99:99:99"}


def is_timestamp(value: Any) -> bool:
    if is_integer(value):
        return True
    text = shape(value)
    if not text.startswith("9999-99-99T99:99"):
        return False
    rest = text.removeprefix("9999-99-99T99:99")
    for zone in ("Z", "+99:99", "-99:99", "+9999", "-9999", "+99", "-99"):
        if rest.endswith(zone):
            rest = rest.removesuffix(zone)
            break
    seconds, fraction = rest[:3], rest[3:]
    return rest == "" or (seconds == ":99" and (not fraction or (fraction[0] in ".," and is_nines(fraction[1:]))))


def is_uri(value: Any) -> bool:
    scheme, colon, rest = value.partition(":") if isinstance(value, str) else ("", "", "")
    allowed = "abcdefghijklmnopqrstuvwxyz"
    return (
        scheme[:1].lower() in [*allowed]
        and all(character.lower() in [*allowed, *"0123456789+.-"] and character.isascii() for character in scheme)
        and bool(colon and rest)
        and all(character > " " and character != "\x7f" for character in rest)
    )


def in_bounds(entry: Entry, value: float) -> bool:
    definition = entry["dataDefinition"] or {}
    bounds = {name: definition.get(name) for name in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")}
    bounds |= {name: entry[name] for name in bounds if entry.get(name) is not None}
    return (
        (bounds["minimum"] is None or value >= bounds["minimum"])
        and (bounds["maximum"] is None or value <= bounds["maximum"])
        and (bounds["exclusiveMinimum"] is None or value > bounds["exclusiveMinimum"])
        and (bounds["exclusiveMaximum"] is None or value < bounds["exclusiveMaximum"])
    )


def fits_plain(entry: Entry, value: Any) -> bool:  # noqa: PLR0911, a return is a row of the table
    """The table of the protocol's values, without quality."""
    definition = entry["dataDefinition"] or {}
    match entry["dataType"]:
        case "INT":
            return is_int32(value) and in_bounds(entry, value)
        case "FLOAT":
            return is_single(value) and in_bounds(entry, value)
        case "DOUBLE":
            return is_number(value) and in_bounds(entry, value)
        case "STRING":
            return isinstance(value, str) and len(value) <= definition.get("maxLength", 1024)
        case "BOOL":
            return value is True or value is False
        case "ENUM" if definition["enumType"] == "INT":
            return is_integer(value) and str(int(value)) in definition["enumDesc"]
        case "ENUM":
            return isinstance(value, str) and value in definition["enumDesc"]
        case "ARRAY":
            return isinstance(value, list) and all(fits_item(definition["itemType"], item) for item in value)
        case "STRUCT":
            members = {member["identifier"]: member for member in definition["items"]}
            return (
                isinstance(value, dict)
                and value.keys() <= members.keys()
                and all(name in value for name, member in members.items() if member["required"])
                and all(fits_plain(members[name], part) for name, part in value.items())
            )
        case "DATE":
            return is_date(value)
        case "TIMESTAMP":
            return is_timestamp(value)
        case _:
            return is_uri(value)


def fits_item(item_type: str, item: Any) -> bool:
    if item_type == "INT" and isinstance(item, str):
        return is_integer_text(item)
    if item_type in {"FLOAT", "DOUBLE"} and isinstance(item, str):
        return is_decimal(item)
    return fits_plain({"dataType": item_type, "dataDefinition": None}, item)


def fits(entry: Entry, value: Any) -> bool:
    """The table, with quality."""
    if entry["hasQuality"] and isinstance(value, dict) and value.keys() == {"value", "quality"}:
        wrapped = is_int32(value["quality"]) and fits_plain(entry, value["value"])
        return wrapped or fits_plain(entry, value)
    return fits_plain(entry, value)


# ------------------------------------------------------------------------------------------------- random documents

BOUNDS = st.sampled_from([None, None, -(2**31), -7, -0.5, 0, 1, 2.5, 9, 2**31, 2**53 + 1, 1e300])
PLAIN = ["BOOL", "DATE", "DOUBLE", "FILE", "FLOAT", "INT", "STRING", "TIMESTAMP"]


@st.composite
def numbers(draw: st.DrawFn) -> Entry:
    """A number with bounds that leave room, on the point or in its definition."""
    lower, upper = draw(BOUNDS), draw(BOUNDS)
    if lower is not None and upper is not None:
        lower, upper = sorted((lower, upper))
    exclusive = lower != upper and draw(st.booleans())
    names = ("exclusiveMinimum", "exclusiveMaximum") if exclusive else ("minimum", "maximum")
    bounds = dict(zip(names, (lower, upper), strict=True))
    inside = draw(st.booleans())
    return {
        "dataType": draw(st.sampled_from(["INT", "FLOAT", "DOUBLE"])),
        "dataDefinition": bounds if inside else None,
        **({} if inside else bounds),
    }


@st.composite
def scalars(draw: st.DrawFn) -> Entry:
    """Any type but STRUCT."""
    data_type = draw(st.sampled_from([*PLAIN, "number", "number", "STRING", "INTS", "TEXTS", "ARRAY", "ARRAY"]))
    match data_type:
        case "number":
            return draw(numbers())
        case "STRING":
            return {"dataType": data_type, "dataDefinition": draw(st.sampled_from([None, {"maxLength": 3}]))}
        case "INTS":
            keys = draw(st.lists(st.sampled_from([0, 1, 2, -7, 2**31 - 1]), min_size=1, unique=True))
            definition = {"enumType": "INT", "enumDesc": {str(key): {} for key in keys}}
            return {"dataType": "ENUM", "dataDefinition": definition}
        case "TEXTS":
            keys = draw(st.lists(st.sampled_from(["", "on", "1", "é"]), min_size=1, unique=True))
            return {"dataType": "ENUM", "dataDefinition": {"enumType": "STRING", "enumDesc": {key: {} for key in keys}}}
        case "ARRAY":
            return {"dataType": "ARRAY", "dataDefinition": {"itemType": draw(st.sampled_from(PLAIN))}}
        case _:
            return {"dataType": data_type, "dataDefinition": None}


@st.composite
def structs(draw: st.DrawFn) -> Entry:
    """A struct, often one that looks like a value with its quality."""
    names = draw(st.lists(st.sampled_from(["value", "quality", "a", "é.b"]), min_size=1, unique=True))
    members = [{**draw(scalars()), "identifier": name, "required": draw(st.booleans())} for name in names]
    return {"dataType": "STRUCT", "dataDefinition": {"items": members}}


@st.composite
def points(draw: st.DrawFn) -> Entry:
    """A measurement point."""
    entry = draw(st.one_of(scalars(), scalars(), structs()))
    return {**entry, "hasQuality": draw(st.booleans())}


# ---------------------------------------------------------------------------------------------------- random values

EDGE_NUMBERS: list[Any] = [
    *(0, 1, -1, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, -(2**63)),
    *(0.0, -0.0, 1.0, 0.5, -0.5, 2.5, 9.0, 2147483647.0, 2147483648.0, 9007199254740992.0, 9007199254740994.0),
    *(3.4028234663852886e38, 3.402823466385289e38, 3.41e38, -3.41e38, 1e300, 1e308, 5e-324, 1.7976931348623157e308),
]
EDGE_TEXTS: list[Any] = [
    *("", "0", "1", "-1", "-0", "007", "1.5", "1.", ".5", "1e5", "-1.5E-3", "1e", "1e+", "e5", "+1", "--1", "1.5.5"),
    *("2147483647", "2147483648", "-2147483648", "-2147483649", "02147483648", "0000000000001", "9999999999", "-"),
    *("1\n", "1.5\n", "1.5e3\n", "-2147483648\n", "٣", "1٣", "NaN", "Infinity", " 1", "1 ", "x1", "1x", "1_0"),
    *("on", "é", "abc", "abcd", "😀😀😀", "😀😀😀😀", "x" * 1024, "x" * 1025, "😀" * 1024, "😀" * 1025),
    *("2024-09-30", "x2024-09-30", "2024-09-30x", "2024-09-30\n", "2024-09-30 15:30:00", "2024-09-30 15:30:00\n"),
    *("2024-09-30 15:30", "2024-9-30", "٢024-09-30", "2024-09-30T15:30", "2024-09-30T15:30Z\n", "x2024-09-30T15:30"),
    *("2024-09-30T15:30:00.123Z", "2024-09-30T15:30:00+08:00", "2024-09-30T15:30:00,5-0300", "2024-09-30T15:30:00."),
    *("2024-09-30T15:30+08", "2024-09-30T15:30:0", "2024-09-30T15:30z", "2024-09-30T15:30+8", "2024-09-30T1530"),
    *("local://a", "a:b", "a:", ":b", "a:b c", "a:\tb", "é:b", "K:b", "a:é", "a:\u2028", "a:b\n", "1:a", " a:b"),
]
EDGES: list[Any] = [*EDGE_NUMBERS, *EDGE_TEXTS, True, False, None, [], {}]

JSON = st.recursive(
    st.one_of(
        st.sampled_from(EDGES),
        st.sampled_from(EDGES),
        st.sampled_from(EDGES),
        st.integers(-(2**63), 2**64 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=5),
        st.from_regex(r"-?[0-9]{1,11}(\.[0-9]{1,3})?([eE][+-]?[0-9]{1,3})?\n?"),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["value", "quality", "a", "é.b", "x"]), inner, max_size=3),
    ),
    max_leaves=6,
)

TEXTS = {
    "DATE": st.from_regex(r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}( [0-9]{2}:[0-9]{2}:[0-9]{2})?\n?\Z"),
    "TIMESTAMP": st.one_of(
        st.integers(-(2**40), 2**50),
        st.from_regex(
            r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}"
            r"(:[0-9]{2}([.,][0-9]{1,4})?)?(Z|[+-][0-9]{2}:?([0-9]{2})?)?\Z"
        ),
    ),
    "FILE": st.from_regex(r"\A[a-z]+:(//)?[a-zA-Z0-9/.é ]+\Z"),
}
DECIMALS = st.one_of(st.integers(-(2**33), 2**33).map(str), st.floats(allow_nan=False, allow_infinity=False).map(str))


def plain_values(entry: Entry) -> st.SearchStrategy[Any]:  # noqa: PLR0911, a return is a type
    """Values that the type accepts, or nearly."""
    definition = entry["dataDefinition"] or {}
    match entry["dataType"]:
        case "INT":
            return st.one_of(st.integers(-12, 12), st.integers(-(2**31), 2**31 - 1), st.sampled_from(EDGE_NUMBERS))
        case "FLOAT" | "DOUBLE":
            finite = st.floats(allow_nan=False, allow_infinity=False)
            return st.one_of(st.integers(-12, 12), st.floats(-12, 12), finite, st.sampled_from(EDGE_NUMBERS))
        case "STRING":
            return st.one_of(st.text(max_size=5), st.sampled_from(EDGE_TEXTS))
        case "BOOL":
            return st.booleans()
        case "ENUM":
            keys = list(definition["enumDesc"])
            return st.sampled_from([*keys, *(int(key) for key in keys if definition["enumType"] == "INT")])
        case "ARRAY":
            item = plain_values({"dataType": definition["itemType"], "dataDefinition": None})
            return st.lists(st.one_of(item, item, DECIMALS, st.sampled_from(EDGE_TEXTS)), max_size=3)
        case "STRUCT":
            members = {member["identifier"]: member for member in definition["items"]}
            near = {name: st.one_of(plain_values(member), JSON) for name, member in members.items()}
            good = {name: plain_values(member) for name, member in members.items()}
            optional = {name: part for name, part in near.items() if not members[name]["required"]}
            required = {name: part for name, part in good.items() if members[name]["required"]}
            return st.one_of(
                st.fixed_dictionaries(required, optional=optional),
                st.fixed_dictionaries(good),
                st.fixed_dictionaries({}, optional={**near, "x": JSON}),
            )
        case data_type:
            return TEXTS[data_type]


def values(entry: Entry) -> st.SearchStrategy[Any]:
    """Values for a point: plain, with quality, with something like quality, or anything at all."""
    plain = plain_values(entry)
    quality = st.one_of(st.integers(0, 9), st.integers(0, 9), st.sampled_from(EDGES))
    wrapped = st.fixed_dictionaries({"value": plain, "quality": quality}, optional={"x": st.none()})
    partly = st.fixed_dictionaries({}, optional={"value": st.one_of(plain, wrapped), "quality": quality})
    return st.one_of(plain, plain, wrapped, wrapped, partly, JSON)


@st.composite
def models_with_values(draw: st.DrawFn) -> tuple[dict[str, Entry], list[tuple[str, Any]]]:
    """A few points, and for each a few values as a parser would yield them."""
    entries = {name: draw(points()) for name in draw(st.lists(st.sampled_from("pqr"), min_size=1, unique=True))}
    samples = [
        (name, orjson.loads(orjson.dumps(value)))
        for name, entry in entries.items()
        for value in draw(st.lists(values(entry), min_size=4, max_size=8))
    ]
    return entries, samples


ENTRIES: list[Entry] = [
    *({"dataType": data_type, "dataDefinition": None} for data_type in PLAIN),
    *({"dataType": "ARRAY", "dataDefinition": {"itemType": item_type}} for item_type in PLAIN),
    *(
        {"dataType": data_type, "dataDefinition": None, "minimum": 0, "maximum": 2.5}
        for data_type in ("INT", "FLOAT", "DOUBLE")
    ),
    *(
        {"dataType": data_type, "dataDefinition": {"exclusiveMinimum": 0, "exclusiveMaximum": 2**53 + 1}}
        for data_type in ("INT", "FLOAT", "DOUBLE")
    ),
    {"dataType": "STRING", "dataDefinition": {"maxLength": 3}},
    {"dataType": "ENUM", "dataDefinition": {"enumType": "INT", "enumDesc": {"0": {}, "1": {}, "-2147483648": {}}}},
    {"dataType": "ENUM", "dataDefinition": {"enumType": "STRING", "enumDesc": {"0": {}, "on": {}, "": {}}}},
]


@pytest.mark.parametrize("has_quality", [False, True])
@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry['dataType']}-{entry['dataDefinition']}")
def test_verdicts_agree_on_every_edge(entry: Entry, has_quality: bool) -> None:
    """Each edge of each type, alone, in an array, with quality, as quality and as a member of a struct."""
    member = {**entry, "identifier": "a", "required": True}
    struct = {"dataType": "STRUCT", "dataDefinition": {"items": [member]}, "hasQuality": has_quality}
    entries = {"p": {**entry, "hasQuality": has_quality}, "s": struct}
    model = CompiledModel(parse_thing_model(thing_model(**entries), "m.json"))
    oracle = jsonschema.Draft202012Validator(model.schema)
    for edge in EDGES:
        forms = (edge, [edge], {"value": edge, "quality": 0}, {"value": [edge], "quality": 0})
        samples = [*(("p", form) for form in forms), *(("s", {"a": form}) for form in forms[:2])]
        for name, value in [*samples, ("p", {"value": 1, "quality": edge})]:
            expected = fits(entries[name], value)
            assert oracle.is_valid({name: value}) == expected
            assert model.is_valid({name: value}) == expected
            assert (model.point_fault(name, value) is None) == expected


@given(models_with_values())
@settings(deadline=None, max_examples=200)
def test_verdicts_agree_with_the_reference_engine_and_the_table(
    drawn: tuple[dict[str, Entry], list[tuple[str, Any]]],
) -> None:
    """For every value: our verdict, our fault, jsonschema and the predicate above say the same."""
    entries, samples = drawn
    model = CompiledModel(parse_thing_model(thing_model(**entries), "m.json"))
    oracle = jsonschema.Draft202012Validator(model.schema)
    for name, value in samples:
        expected = fits(entries[name], value)
        assert oracle.is_valid({name: value}) == expected
        assert model.is_valid({name: value}) == expected
        assert (model.point_fault(name, value) is None) == expected
        if expected:
            bare, quality = model.split(name, value)
            assert fits_plain(entries[name], bare)
            assert quality is None or is_int32(quality)


@given(models_with_values(), st.sampled_from(["p", "q", "r", "P", ""]))
@settings(deadline=None, max_examples=60)
def test_verdicts_on_whole_maps_agree(drawn: tuple[dict[str, Entry], list[tuple[str, Any]]], stray: str) -> None:
    """A map is valid if each of its points is known and fits; what `check` tells is the first that does not."""
    entries, samples = drawn
    model = CompiledModel(parse_thing_model(thing_model(**entries), "m.json"))
    oracle = jsonschema.Draft202012Validator(model.schema)
    for measurepoints in (dict(samples), {**dict(reversed(samples)), stray: samples[0][1]}):
        faulty = [
            name for name, value in measurepoints.items() if name not in entries or not fits(entries[name], value)
        ]
        assert model.is_valid(measurepoints) == oracle.is_valid(measurepoints) == (not faulty)
        faults = [model.point_fault(name, value) for name, value in measurepoints.items()]
        assert [fault.path[0] for fault in faults if fault] == faulty
