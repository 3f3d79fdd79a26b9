"""Requests and replies as JSON: what can be read, what id is found, which time is meant."""

from __future__ import annotations

import contextlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enos_ingest.errors import PayloadError
from enos_ingest.protocol.codes import Code
from enos_ingest.protocol.messages import (
    decode_request,
    encode_reply,
    is_set,
    parse_flag,
    parse_time,
    request_id,
    scan_id,
)

LIMIT = 1000


def test_a_request_is_a_json_object() -> None:
    """Of no more than so many bytes."""
    payload = b'{"id": "1", "params": {}}'
    assert decode_request(payload, LIMIT) == {"id": "1", "params": {}}
    assert decode_request(payload, len(payload)) == {"id": "1", "params": {}}


@pytest.mark.parametrize(
    ("payload", "said", "found"),
    [
        (b"", "payload is empty", ""),
        (b'{"id": "7", "x": "' + b"x" * LIMIT + b'"}', "payload of 1020 bytes is over the limit of 1000", "7"),
        (b'{"id": "7", "params": {', "payload is not JSON: ", "7"),
        (b'{"id": 7, "params": \xff}', "payload is not JSON: ", "7"),
        (b'{"id": "7"} {}', "payload is not JSON: ", "7"),
        (b'{"id": "7", "value": NaN}', "payload is not JSON: ", "7"),
        (b'{"id" : 7,}', "payload is not JSON: ", "7"),
        (b'{"id":"7","x":' + b"[" * 900, "payload is not JSON: ", "7"),
        (b"resume", "payload is not JSON: ", ""),
        (b"\x1f\x8b\x08\x00", "payload is not JSON: ", ""),
        (b"\xef\xbb\xbf{}", "payload is not JSON: ", ""),
        (b'[{"id": "7"}]', "payload is not a JSON object", ""),
        (b"7", "payload is not a JSON object", ""),
        (b"null", "payload is not a JSON object", ""),
    ],
)
def test_what_is_no_request_is_said_in_a_sentence(payload: bytes, said: str, found: str) -> None:
    """With the id that can still be found, so that the sender can match the reply."""
    with pytest.raises(PayloadError) as caught:
        decode_request(payload, LIMIT)
    assert str(caught.value).startswith(said)
    assert caught.value.request_id == found


def test_a_number_of_400_digits_is_no_fault_of_the_decoder() -> None:
    """It becomes no number that could be stored, or no JSON: never an exception of another kind."""
    payload = b'{"id": "7", "value": ' + b"1" * 400 + b"}"
    with pytest.raises(PayloadError) as caught:
        decode_request(payload, LIMIT)
    assert caught.value.request_id == "7"


@pytest.mark.parametrize(
    ("payload", "found"),
    [
        (b'"id":"abc"', "abc"),
        (b'{ "id"\n:\t"abc" ', "abc"),
        (b'{"id":""', ""),
        (b'{"id":-12,', "-12"),
        (b'{"id":12}', "12"),
        (b'{"id":12', "12"),
        (b'{"id":12.5,', ""),
        (b'{"id":1e3,', ""),
        (b'{"id":null,', ""),
        (b'{"id":true,', ""),
        (b'{"id":"a\\"b",', ""),
        (b'{"id":"open', ""),
        (b'{"id":"' + b"x" * 1024 + b'"', "x" * 1024),
        (b'{"id":"' + b"x" * 1025 + b'"', ""),
        (b'{"id":' + b"1" * 1025 + b"}", ""),
        (b'{"ids":"1","id":"2"', "2"),
        (b'{"id":"1","id":"2"', "1"),
        (b'{"id":"\xc3\xa9"', "é"),
        (b'{"id":"\xff7"', "7"),
        (b"'id': 'abc'", ""),
    ],
)
def test_an_id_is_looked_for_in_what_is_no_json(payload: bytes, found: str) -> None:
    """A short string without escapes, or a whole number, behind the first `"id":`."""
    assert scan_id(payload) == found


@pytest.mark.parametrize(
    ("payload", "found"),
    [
        (b'{"id":12', ""),
        (b'{"id":12,', "12"),
        (b'{"id":12 ', "12"),
        (b'{"id":"12', ""),
        (b'{"id":"12"', "12"),
        (b'{"i', ""),
    ],
)
def test_an_id_that_may_be_cut_is_none(payload: bytes, found: str) -> None:
    """Where only the beginning of a payload is there, more digits may have followed."""
    assert scan_id(payload, is_whole=False) == found


def test_the_beginning_of_a_payload_over_the_limit() -> None:
    """What counts is its length as received."""
    for size, found in ((LIMIT + 1, ""), (8, "7")):
        with pytest.raises(PayloadError) as caught:
            decode_request(b'{"id": 7', LIMIT if size > LIMIT else size - 1, size)
        assert caught.value.request_id == found
        assert str(caught.value).startswith(f"payload of {size} bytes is over the limit of ")


@given(st.binary() | st.binary().map(lambda tail: b'{"id":' + tail) | st.binary().map(lambda tail: b'{"id":"' + tail))
def test_looking_for_an_id_never_fails(payload: bytes) -> None:
    """Whatever the bytes, what is found can be sent back."""
    assert orjson.loads(encode_reply(scan_id(payload), Code.DATA_FORMAT_ERROR))["id"] == scan_id(payload)


@given(st.binary(max_size=64))
def test_any_bytes_are_a_request_or_a_payload_error(payload: bytes) -> None:
    """No other exception."""
    with contextlib.suppress(PayloadError):
        assert isinstance(decode_request(payload, 48), dict)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("12", "12"),
        ("0012", "0012"),
        ("", ""),
        ("é", "é"),
        (12, "12"),
        (0, "0"),
        (-3, "-3"),
        (2**63, str(2**63)),
        (12.0, "12"),
        (12.5, ""),
        (True, ""),
        (False, ""),
        (None, ""),
        ([], ""),
        ({"id": 1}, ""),
    ],
)
def test_the_id_of_a_request_is_echoed_as_text(value: object, text: str) -> None:
    """A number in digits; nothing for what is no id."""
    assert request_id({"id": value}) == text


def test_a_request_without_id_has_an_empty_one() -> None:
    """The member may be absent."""
    assert request_id({}) == ""


@given(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.sampled_from(Code),
    st.text(st.characters(exclude_categories=["Cs"])),
)
def test_a_reply_reads_back(identifier: str, code: Code, message: str) -> None:
    """`data` is always there, `message` only where there is something to say."""
    expected: dict[str, Any] = {"id": identifier, "code": int(code), "data": {}}
    if message:
        expected["message"] = message
    assert orjson.loads(encode_reply(identifier, code, message)) == expected
    assert decode_request(encode_reply(identifier, code, message), 10**6) == expected


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_plain_reply_is_encoded_like_any_other(identifier: str) -> None:
    """Byte for byte, whatever has to be escaped in the id."""
    expected = orjson.dumps({"id": identifier, "code": 200, "data": {}})
    assert encode_reply(identifier, Code.SUCCESS) == encode_reply(identifier, Code.SUCCESS, "", {}) == expected


def test_a_reply_may_carry_data() -> None:
    """As that of a login does; in the order of the documents' samples."""
    reply = encode_reply("1", Code.SUCCESS, data={"deviceKey": "d"})
    assert reply == b'{"id":"1","code":200,"data":{"deviceKey":"d"}}'


@pytest.mark.parametrize(("value", "given_"), [(None, False), ("", False), ("x", True), (0, True), (False, True)])
def test_null_and_the_empty_text_count_as_absent(value: object, given_: bool) -> None:
    """The Python SDK sends "" for what is not given."""
    assert is_set(value) is given_


@pytest.mark.parametrize(("value", "flag"), [(True, True), (False, False), ("", False), (None, False)])
def test_a_flag_is_set_by_true_alone(value: object, flag: bool) -> None:
    """The Python SDK sends "" for one that is not set."""
    assert parse_flag(value) is flag


@pytest.mark.parametrize(
    ("value", "milliseconds"),
    [
        (None, 42),
        (0, 0),
        (1795221525130, 1795221525130),
        (1795221525, 1795221525),
        (1795221525.0, 1795221525),
        (1795221525.13, 1795221525130),
        (1795221825.5055053, 1795221825505),
        (0.001, 1),
        (0.0009, 0),
        (1.001, 1001),
        (99999999999.5, 99999999999500),
        (1e11, 100000000000),
        (100000000000.5, 100000000000),
        (1795221824968.3962, 1795221824968),
        (1795221824968.999, 1795221824968),
        (253402300799999, 253402300799999),
    ],
)
def test_a_time_is_milliseconds_or_fractional_seconds(value: float | None, milliseconds: int) -> None:
    """Below 1e11 a fraction means seconds; above, it is cut. Seconds are exact to the millisecond they show."""
    assert parse_time(value, 42) == milliseconds


@given(st.integers(10**9, 10**10), st.integers(1, 999))
def test_seconds_never_lose_a_millisecond(seconds: int, milliseconds: int) -> None:
    """`time.time()` printed with three digits comes out as those digits."""
    assert parse_time(float(f"{seconds}.{milliseconds:03d}"), 0) == seconds * 1000 + milliseconds
