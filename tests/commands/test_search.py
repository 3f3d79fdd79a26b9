"""`action=search`: expressions, pages, order and members, and what is said of faulty ones."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enos_ingest.commands.refusals import CommandRefusal, RestCode
from enos_ingest.commands.search import (
    MEMBERS,
    Combination,
    Comparison,
    Condition,
    Operator,
    Search,
    Sorter,
    parse_search,
)
from enos_ingest.http.command_document import command_document
from enos_ingest.protocol.identity import DeviceId
from tests.storage.samples import command


def condition(expression: str) -> Condition | None:
    """What an expression is read as."""
    return parse_search({"expression": expression}).condition


NO_TIME = "expected a whole number for createTime, or a text such as '2026-11-21 08:00:00'"


def refusal(body: object) -> str:
    """The sentence that a body is refused with."""
    with pytest.raises(CommandRefusal) as caught:
        parse_search(body)
    assert caught.value.code is RestCode.BAD_ARGUMENT
    return caught.value.message


@pytest.mark.parametrize(
    "body",
    [
        None, {}, {"expression": None, "pagination": None, "projection": None}, {"expression": ""},
        {"expression": " \n"}, {"pagination": {}}, {"pagination": {"pageNo": None, "sorters": []}, "projection": []},
        {"strange": None},
    ],
)  # fmt: skip
def test_nothing_asks_for_everything(body: object) -> None:
    """The first hundred of all commands, the newest first."""
    found = parse_search(body)
    assert found == Search()
    assert (found.page, found.page_size, found.condition, found.projection) == (1, 100, None, ())
    assert found.pagination(7) == {
        "pageNo": 1,
        "pageSize": 100,
        "totalSize": 7,
        "sortedBy": [{"field": "createTime", "order": "DESC"}],
    }


def test_a_search_is_read_whole() -> None:
    """All that it may say, with the device that the call names."""
    device = DeviceId("EbxGvUrE", "gw-1")
    found = parse_search(
        {
            "expression": "state = 5 and createTime >= 1700000000000",
            "pagination": {
                "pageNo": 3,
                "pageSize": 20,
                "sorters": [{"field": "state", "order": "desc"}, {"field": "commandId"}],
            },
            "projection": ["commandId", "state"],
        },
        device,
    )
    assert found == Search(
        Combination("and", (Comparison("state", "=", (5,)), Comparison("createTime", ">=", (1700000000000,)))),
        page=3,
        page_size=20,
        sorters=(Sorter("state", descending=True), Sorter("commandId")),
        projection=("commandId", "state"),
        device=device,
    )
    assert found.pagination(41)["sortedBy"] == [
        {"field": "state", "order": "DESC"},
        {"field": "commandId", "order": "ASC"},
    ]
    assert found.project({"commandId": "1", "timeout": 30, "state": 5}) == {"commandId": "1", "state": 5}
    assert Search().project({"commandId": "1", "timeout": 30}) == {"commandId": "1", "timeout": 30}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("state=5", Comparison("state", "=", (5,))),
        ("state == '5'", Comparison("state", "=", (5,))),
        ("state<>5", Comparison("state", "!=", (5,))),
        ("state != 5", Comparison("state", "!=", (5,))),
        ("createTime>-1", Comparison("createTime", ">", (-1,))),
        ("createTime >= '2023-11-14 22:13:20'", Comparison("createTime", ">=", (1700000000000,))),
        ("createTime = '2023-11-14T23:13:20.5+01:00'", Comparison("createTime", "=", (1700000000500,))),
        ("createTime < '2023-11-14'", Comparison("createTime", "<", (1699920000000,))),
        ("createTime <= 999999999999999999", Comparison("createTime", "<=", (999_999_999_999_999_999,))),
        ("commandId < 100000000000000001", Comparison("commandId", "<", (100_000_000_000_000_001,))),
        ("state IN (1,4)", Comparison("state", "in", (1, 4))),
        ("state in (1)", Comparison("state", "in", (1,))),
        ('commandType in ("1" , 2)', Comparison("commandType", "in", (1, 2))),
        ("commandName.en_US like '%x%'", Comparison("commandName", "like", ("%x%",), "en_US")),
        ("commandName.zh-Hans Like '限%'", Comparison("commandName", "like", ("限%",), "zh-Hans")),
        ("commandName like ''", Comparison("commandName", "like", ("",))),
        ("commandName.default = 'Set'", Comparison("commandName", "=", ("Set",))),
        ("deviceKey = 'it''s'", Comparison("deviceKey", "=", ("it's",))),
        ('deviceKey = "say ""it"" \'s"', Comparison("deviceKey", "=", ('say "it" \'s',))),
        ("productKey != '5'", Comparison("productKey", "!=", ("5",))),
        ("tslIdentifier in ('and', 'or', ')')", Comparison("tslIdentifier", "in", ("and", "or", ")"))),
        ("((state=5))", Comparison("state", "=", (5,))),
        (
            "state=1 or state=2 AND createTime<3",
            Combination(
                "or",
                (
                    Comparison("state", "=", (1,)),
                    Combination("and", (Comparison("state", "=", (2,)), Comparison("createTime", "<", (3,)))),
                ),
            ),
        ),
        (
            " ( state=1 or state=2 ) and createTime<3 and\ncreateTime>1 ",
            Combination(
                "and",
                (
                    Combination("or", (Comparison("state", "=", (1,)), Comparison("state", "=", (2,)))),
                    Comparison("createTime", "<", (3,)),
                    Comparison("createTime", ">", (1,)),
                ),
            ),
        ),
    ],
)
def test_an_expression_is_read_as_its_grammar_says(expression: str, expected: Condition) -> None:
    """`and` binds before `or`; words of the grammar are read in any case, quotes hold everything."""
    assert condition(expression) == expected


FIELDS = "one of commandId, commandName, commandType, createTime, deviceKey, productKey, state, tslIdentifier"


@pytest.mark.parametrize(
    ("expression", "sentence"),
    [
        ("state", "expected =, !=, >, >=, <, <=, in or like, found the end"),
        ("state 5", "expected =, !=, >, >=, <, <=, in or like, found 5"),
        ("state 'in' 5", "expected =, !=, >, >=, <, <=, in or like, found 'in'"),
        ("state =", "expected a whole number for state, found the end"),
        ("state = x", "expected a whole number for state, found x"),
        ("state = 'x'", "expected a whole number for state, found 'x'"),
        ("state = 5.0", "cannot be read from 5.0"),
        ("state = 5and", "cannot be read from 5and"),
        ("createTime > 1234567890123456789", "cannot be read from 1234567890123456789"),
        ("createTime > '1234567890123456789'", f"{NO_TIME}, found '1234567890123456789'"),
        ("createTime > '2026-13-01'", f"{NO_TIME}, found '2026-13-01'"),
        ("createTime > 'yesterday'", f"{NO_TIME}, found 'yesterday'"),
        ("state like '5'", "state is a number, which like does not take"),
        ("deviceKey > 'a'", "deviceKey is a text, which > does not take"),
        ("deviceKey = 5", "expected a text in quotes for deviceKey, found 5"),
        ("deviceKey = a", "expected a text in quotes for deviceKey, found a"),
        ("deviceKey = 'a", "cannot be read from 'a"),
        ("deviceKey = 'a'b'", "cannot be read from '"),
        ("colour = 5", f"expected a field, {FIELDS}, found colour"),
        ("'state' = 5", f"expected a field, {FIELDS}, found 'state'"),
        ("and", f"expected a field, {FIELDS}, found and"),
        ("not state = 5", f"expected a field, {FIELDS}, found not"),
        ("state = 5 and", f"expected a field, {FIELDS}, found the end"),
        ("state.x = 5", "expected a field; only commandName has a locale, such as commandName.en_US, found state.x"),
        (
            "commandName.a.b = '5'",
            "expected a field; only commandName has a locale, such as commandName.en_US, found commandName.a.b",
        ),
        (
            "commandName. = '5'",
            "expected a field; only commandName has a locale, such as commandName.en_US, found commandName.",
        ),
        ("state = 5 state = 6", "expected and, or, or the end, found state"),
        ("state = 5)", "expected and, or, or the end, found )"),
        ("(state = 5", "expected ), found the end"),
        ("()", f"expected a field, {FIELDS}, found )"),
        ("state in 5", "expected (, found 5"),
        ("state in ()", "expected a whole number for state, found )"),
        ("state in (5", "expected ), found the end"),
        ("state in (5,)", "expected a whole number for state, found )"),
        ("state = 5; drop table commands", "cannot be read from ; drop table commands"),
        ("state = '" + "x" * 100 + "'", "expected a whole number for state, found '" + "x" * 38 + "…"),
        ("deviceKey = '\ud800'", "holds half a surrogate pair, which is no character"),
    ],
)
def test_a_faulty_expression_is_one_sentence(expression: str, sentence: str) -> None:
    """It names what was expected, and what was found instead."""
    said = refusal({"expression": expression})
    assert said.removeprefix("expression: ").removeprefix("expression ") == sentence


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ([], "body: expected an object"),
        ("{}", "body: expected an object"),
        ({"expresion": "state = 5"}, "body: expresion is unknown, there are expression, pagination, projection"),
        ({"expression": 5}, "expression: expected a text"),
        ({"pagination": []}, "pagination: expected an object"),
        ({"pagination": {"page": 1}}, "pagination: page is unknown, there are pageNo, pageSize, sorters"),
        ({"pagination": {"pageNo": 0}}, "pagination.pageNo: expected a whole number from 1 to 1000000000"),
        ({"pagination": {"pageNo": 10**9 + 1}}, "pagination.pageNo: expected a whole number from 1 to 1000000000"),
        ({"pagination": {"pageNo": True}}, "pagination.pageNo: expected a whole number from 1 to 1000000000"),
        ({"pagination": {"pageSize": 0}}, "pagination.pageSize: expected a whole number from 1 to 1000"),
        ({"pagination": {"pageSize": 1001}}, "pagination.pageSize: expected a whole number from 1 to 1000"),
        ({"pagination": {"pageSize": "10"}}, "pagination.pageSize: expected a whole number from 1 to 1000"),
        ({"pagination": {"sorters": {}}}, "pagination.sorters: expected a list of at most 3"),
        ({"pagination": {"sorters": [{}] * 4}}, "pagination.sorters: expected a list of at most 3"),
        ({"pagination": {"sorters": ["state"]}}, "pagination.sorters[0]: expected an object"),
        (
            {"pagination": {"sorters": [{"field": "state"}, {}]}},
            "pagination.sorters[1].field: expected one of commandId, createTime, state",
        ),
        (
            {"pagination": {"sorters": [{"field": ["state"]}]}},
            "pagination.sorters[0].field: expected one of commandId, createTime, state",
        ),
        (
            {"pagination": {"sorters": [{"field": "state", "order": "up"}]}},
            "pagination.sorters[0].order: expected ASC or DESC",
        ),
        (
            {"pagination": {"sorters": [{"field": "state", "order": 1}]}},
            "pagination.sorters[0].order: expected ASC or DESC",
        ),
        ({"projection": "state"}, "projection: expected a list of at most 20"),
        ({"projection": ["state"] * 21}, "projection: expected a list of at most 20"),
        ({"projection": ["state", "x"]}, f"projection[1]: expected one of {', '.join(MEMBERS)}"),
        ({"projection": [{}]}, f"projection[0]: expected one of {', '.join(MEMBERS)}"),
    ],
)
def test_a_faulty_body_is_one_sentence(body: object, sentence: str) -> None:
    """The first fault is named with its place."""
    assert refusal(body) == sentence


def test_bounds_hold_and_no_less_does() -> None:
    """At each limit a search is read, one further it is refused."""
    padded = "state=5" + " " * 3993
    assert condition(padded) is not None
    assert refusal({"expression": padded + " "}) == "expression: more than 4000 characters"
    many = " or ".join(["state=5"] * 20)
    assert condition(many) is not None
    assert refusal({"expression": f"{many} or state=5"}) == "expression: more than 20 comparisons"
    choices = ",".join(["5"] * 100)
    assert condition(f"state in ({choices})") is not None
    assert (
        refusal({"expression": f"state in ({choices},5)"}) == "expression: more than 100 values in the brackets of in"
    )
    assert condition("(" * 10 + "state=5" + ")" * 10) is not None
    assert condition(" and ".join(["(state=5)"] * 20)) is not None
    assert refusal({"expression": "(" * 11 + "state=5" + ")" * 11}) == "expression: brackets more than 10 deep"
    assert refusal({"expression": "(" * 4000}) == "expression: brackets more than 10 deep"
    page = parse_search({"pagination": {"pageNo": 10**9, "pageSize": 1000}})
    assert (page.page, page.page_size) == (10**9, 1000)
    three = [{"field": "state"}, {"field": "createTime"}, {"field": "commandId"}]
    assert len(parse_search({"pagination": {"sorters": three}}).sorters) == 3
    assert parse_search({"projection": list(MEMBERS)}).projection == MEMBERS


def test_a_projection_takes_both_spellings_of_the_documents() -> None:
    """One member is spelt in two ways there; the answer has one of them."""
    search = parse_search({"projection": ["createLocalTime"]})
    assert search.project({"createLocaltime": "2026", "state": 5}) == {"createLocaltime": "2026"}


def test_a_projection_may_name_all_that_an_answer_holds() -> None:
    """What is shown of a command can be asked for."""
    shown = command_document(command(), "default", "asset")
    assert tuple(shown) == MEMBERS


numeric = st.builds(
    lambda field, operator, value: Comparison(field, operator, (value,)),
    st.sampled_from(["state", "createTime", "commandId", "commandType"]),
    st.sampled_from(["=", "!=", ">", ">=", "<", "<="]),
    st.integers(-(10**17), 10**18 - 1),
)
textual = st.builds(
    lambda field, operator, value: Comparison(field, operator, (value,)),
    st.sampled_from(["commandName", "deviceKey", "productKey", "tslIdentifier"]),
    st.sampled_from(["=", "!=", "like"]),
    st.text(max_size=10),
)
chosen = st.builds(
    lambda values: Comparison("deviceKey", "in", tuple(values)), st.lists(st.text(max_size=5), min_size=1, max_size=4)
)


def combined(parts: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    """Conditions of conditions; one within another of the same kind would be read as one."""

    def combine(operator: Literal["and", "or"], parts: list[Condition]) -> Condition:
        flat = [each for each in parts if not isinstance(each, Combination) or each.operator != operator]
        return Combination(operator, tuple(flat)) if len(flat) > 1 else parts[0]

    return st.builds(combine, st.sampled_from(["and", "or"]), st.lists(parts, min_size=2, max_size=3))


conditions: st.SearchStrategy[Condition] = st.recursive(numeric | textual | chosen, combined, max_leaves=8)


def written(condition: Condition, quote: str) -> str:
    """A condition as a person would write it."""
    if isinstance(condition, Combination):
        return "(" + f" {condition.operator} ".join(written(part, quote) for part in condition.parts) + ")"
    values = [
        quote + value.replace(quote, quote * 2) + quote if isinstance(value, str) else str(value)
        for value in condition.values
    ]
    operator: Operator = condition.operator
    return f"{condition.field} {operator} " + (f"({', '.join(values)})" if operator == "in" else values[0])


@given(expected=conditions, quote=st.sampled_from(["'", '"']))
def test_what_is_written_is_what_is_read(expected: Condition, quote: str) -> None:
    """Any condition survives being written down."""
    assert condition(written(expected, quote)) == expected


words = st.sampled_from(
    ["state", "createTime", "commandName.en_US", "deviceKey", "=", ">=", "in", "like", "and", "or", "(", ")", ",", "5"]
)
any_json: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=300)
@given(
    expression=st.text() | st.lists(words | st.text(max_size=4), max_size=30).map(" ".join),
    pagination=st.none() | st.dictionaries(st.sampled_from(["pageNo", "pageSize", "sorters"]), any_json),
    projection=st.none() | any_json,
)
def test_any_body_is_read_or_refused(expression: str, pagination: object, projection: object) -> None:
    """Whatever is sent, there is a search or one sentence that is not long."""
    found: Search | CommandRefusal
    try:
        found = parse_search({"expression": expression, "pagination": pagination, "projection": projection})
    except CommandRefusal as refused:
        found = refused
    if isinstance(found, CommandRefusal):
        assert found.code is RestCode.BAD_ARGUMENT
        assert 0 < len(found.message) < 400
    else:
        assert 1 <= found.page_size <= 1000
        assert found.pagination(0)["pageNo"] == found.page
