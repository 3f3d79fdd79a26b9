"""What devices answer: the bodies of the four SDKs, and everything else."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enos_ingest.commands.answer import Answer, parse_answer, read_answer

LIMIT = 1000
ID = "127000000000000001"


def answer(**fields: Any) -> Answer:
    """As it is read."""
    return parse_answer(orjson.dumps({"id": ID, **fields}), LIMIT)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"code": 200, "data": None, "message": "done"}, Answer(ID, 200, "done")),
        ({"code": 0, "data": {}, "message": ""}, Answer(ID, 0, "", {})),
        ({"code": 200, "message": "ok"}, Answer(ID, 200, "ok")),
        ({"code": 200, "data": {"x": 1}}, Answer(ID, 200, "", {"x": 1})),
        (
            {"code": "1101", "message": "downstream command handler not registered"},
            Answer(ID, 1101, "downstream command handler not registered"),
        ),
        ({"code": "500"}, Answer(ID, 500)),
        ({"code": "200", "data": []}, Answer(ID, 200, "", [])),
        ({"code": 200.0}, Answer(ID, 200)),
        ({"code": -1, "message": None}, Answer(ID, -1)),
        ({"code": 2001, "message": 7}, Answer(ID, 2001)),
    ],
    ids=str,
)
def test_what_the_sdks_answer_is_read(body: dict[str, Any], expected: Answer) -> None:
    """A number or its digits, with or without data and message."""
    assert answer(**body) == expected
    assert read_answer({"id": ID, **body}) == expected


@pytest.mark.parametrize(
    ("code", "is_success"), [(200, True), (0, True), ("200", True), ("0", True), (201, False), ("1101", False)]
)
def test_success_is_200_or_0(code: object, is_success: bool) -> None:
    """Number or digits, nothing else."""
    assert answer(code=code).is_success == is_success


@pytest.mark.parametrize("code", [None, True, False, "", "ok", "2 00", "²", 0.5, 1e300, [], "9" * 19, 10**18])
def test_without_a_code_it_is_a_failure(code: object) -> None:
    """Which says so: a device that answers anything has got the command."""
    read = answer(code=code)
    assert (read.id, read.code, read.is_success) == (ID, None, False)
    assert read.message == "the answer has no code that is a number"


def test_an_id_may_come_back_as_a_number() -> None:
    """The Node.js SDK echoes what it was sent, others convert."""
    assert parse_answer(b'{"id":127000000000000001,"code":200}', LIMIT) == Answer(ID, 200)


@pytest.mark.parametrize(
    ("payload", "identifier", "said"),
    [
        (b"", "", "payload is empty"),
        (b"\xff", "", "payload is not JSON"),
        (b'{"id":"127000000000000001","code":2', ID, "payload is not JSON"),
        (b"[1]", "", "payload is not a JSON object"),
        (b'{"id":"127000000000000001","code":200,"data":"' + b"x" * LIMIT + b'"}', ID, "is over the limit of 1000"),
    ],
)
def test_what_cannot_be_read_is_a_failure_that_says_why(payload: bytes, identifier: str, said: str) -> None:
    """Of the command whose id is in it, where there is one."""
    read = parse_answer(payload, LIMIT)
    assert (read.id, read.code) == (identifier, None)
    assert read.message.startswith("the answer cannot be read: ")
    assert said in read.message


def test_the_beginning_of_a_longer_answer_is_a_failure() -> None:
    """The endpoint keeps no more of what is over the limit."""
    read = parse_answer(b'{"id":"127000000000000001","code":200,"da', LIMIT, 5000)
    assert (read.id, read.is_success) == (ID, False)
    assert "payload of 5000 bytes is over the limit of 1000" in read.message


def test_a_long_message_is_cut() -> None:
    """It is handed on to whoever sent the command."""
    for length, kept in ((1000, 1000), (1001, 1000)):
        assert read_answer({"id": ID, "code": 1, "message": "x" * length}).message == "x" * kept


def test_data_that_cannot_be_written_again_is_a_failure() -> None:
    """The parser takes more levels than the writer."""
    read = parse_answer(b'{"id":"%b","code":200,"data":%b}' % (ID.encode(), b"[" * 300 + b"]" * 300), LIMIT)
    assert (read.id, read.code) == (ID, None)
    assert read.message.startswith("the data of the answer cannot be kept: ")


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_are_an_answer(payload: bytes) -> None:
    """None of them is a success, and none an error of ours."""
    assert not parse_answer(payload, LIMIT).is_success


_json: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(st.fixed_dictionaries({}, optional={"id": _json, "code": _json, "data": _json, "message": _json}))
def test_any_object_is_an_answer(document: dict[str, Any]) -> None:
    """Whatever its fields hold; a success has a code of 0 or 200."""
    read = read_answer(document)
    assert isinstance(read.id, str)
    assert isinstance(read.message, str)
    assert read.is_success == (read.code in (0, 200))
    assert read.code is None or -(2**63) <= read.code < 2**63
