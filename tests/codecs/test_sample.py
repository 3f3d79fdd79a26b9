"""The sample codec: what its frame holds comes back, what it cannot hold is refused, and no bytes do harm."""

from __future__ import annotations

import contextlib
import json
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enos_ingest.codecs.sample import codec
from enos_ingest.errors import CodecError

DOCUMENT = Path(__file__).parents[2] / "docs" / "codecs.md"
SET = "thing.service.measurepoint.set"
POST = "thing.measurepoint.post"
SCALARS = "the frame holds numbers, texts, true and false, no other values"

ids = st.integers(0, 2**64 - 1).map(str)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
names = texts.filter(bool)
values = st.one_of(
    st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), texts
)
entries = st.dictionaries(names, values, max_size=5)


def request(method: str, params: object) -> dict[str, Any]:
    """A request with an id."""
    return {"id": "7", "version": "1.0", "method": method, "params": params}


@st.composite
def messages(draw: st.DrawFn) -> dict[str, Any]:
    """Every message that a frame holds, as decoding writes it."""
    message: dict[str, Any] = {"id": draw(ids)}
    kind = draw(st.sampled_from(["set", "invoke", "answer", "post", "resume"]))
    if kind == "answer":
        return message | {"code": draw(st.integers(0, 65_535)), "data": draw(entries), "message": draw(texts)}
    message["version"] = "1.0"
    if kind == "set":
        return message | {"method": SET, "params": draw(entries)}
    if kind == "invoke":
        service = draw(names.filter(lambda name: name != "measurepoint.set"))
        return message | {"method": f"thing.service.{service}", "params": draw(entries)}
    params: dict[str, Any] = {"measurepoints": draw(entries)}
    if draw(st.booleans()):
        params["time"] = draw(st.integers(0, 2**64 - 2))
    return message | {"method": f"thing.measurepoint.{kind}", "params": params}


def frame(body: bytes) -> bytes:
    """These bytes with the CRC that belongs to them."""
    return body + zlib.crc32(body).to_bytes(4, "big")


def header(kind: int, version: int = 1) -> bytes:
    """The start of a frame whose id is 7."""
    return struct.pack(">2sBBQ", b"EN", version, kind, 7)


@given(messages())
def test_a_message_comes_back_as_it_was(message: dict[str, Any]) -> None:
    """To the type of each number: 1 stays an integer and 1.0 none."""
    back = codec.decode(codec.encode(message))
    assert json.dumps(back) == json.dumps(message)


@given(messages(), st.data())
def test_a_damaged_frame_is_refused(message: dict[str, Any], data: st.DataObject) -> None:
    """One byte changed anywhere, or an end that is missing."""
    whole = codec.encode(message)
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[at] ^= data.draw(st.integers(1, 255))
    for damaged in (bytes(changed), whole[:at]):
        with pytest.raises(CodecError):
            codec.decode(damaged)


@given(
    st.binary(max_size=200)
    | st.builds(lambda kind, body: frame(header(kind) + body), st.integers(0, 6), st.binary(max_size=40))
)
def test_no_bytes_do_harm(data: bytes) -> None:
    """They are refused, or hold a message that encodes to a frame of the same message."""
    with contextlib.suppress(CodecError):
        message = codec.decode(data)
        assert codec.decode(codec.encode(message)) == message


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "a frame has at least 16 bytes, not 0"),
        (b"EN" + bytes(13), "a frame has at least 16 bytes, not 15"),
        (frame(b"XX" + header(1)[2:]), 'a frame starts with "EN"'),
        (frame(header(1, version=2)), "frames have version 1, not 2"),
        (header(1) + bytes(4), "the frame is damaged: its CRC is wrong"),
        (frame(header(0)), "frames have kinds 1 to 5, not 0"),
        (frame(header(6)), "frames have kinds 1 to 5, not 6"),
        (frame(header(2)), "the frame ends within a service"),
        (frame(header(2) + b"\x05a"), "the frame ends within a service"),
        (frame(header(2) + b"\x00"), "a frame of kind 2 names a service"),
        (frame(header(2) + b"\x10measurepoint.set"), "a frame of kind 2 names a service"),
        (frame(header(2) + b"\x01\xff"), "a service is not UTF-8"),
        (frame(header(3) + b"\x00"), "the frame ends within a code"),
        (frame(header(3) + b"\x00\xc8"), "the frame ends within a message"),
        (frame(header(4) + bytes(7)), "the frame ends within a time"),
        (frame(header(1) + b"\x01"), "the frame ends within the name of an entry"),
        (frame(header(1) + b"\x01\x01a"), "the frame ends within the value of an entry"),
        (frame(header(1) + b"\x01\x01a\x02\x00"), "the frame ends within the value of an entry"),
        (frame(header(1) + b"\x01\x00\x01\x00"), "names of entries are not empty, and each stands once"),
        (frame(header(1) + b"\x01\x01a\x01\x00" * 2), "names of entries are not empty, and each stands once"),
        (frame(header(1) + b"\x00\x01a\x00"), "a: not a value of the frame's types"),
        (frame(header(1) + b"\x01\x01a\x03\x00\x00\x00"), "a: not a value of the frame's types"),
        (frame(header(1) + b"\x02\x01a\x02\x00\x00"), "a: not a value of the frame's types"),
        (frame(header(1) + b"\x02\x01a\x04\x7f\xc0\x00\x00"), "a: not a value of the frame's types"),
        (frame(header(1) + b"\x03\x01a\x01\x02"), "a: not a value of the frame's types"),
        (frame(header(1) + b"\x03\x01a\x00"), "a: not a value of the frame's types"),
        (frame(header(1) + b"\x04\x01a\x01\xff"), "a: not a value of the frame's types"),
        (frame(header(1) + b"\x05\x01a\x00"), "a: not a value of the frame's types"),
    ],
)
def test_what_is_wrong_with_a_frame_is_said(data: bytes, said: str) -> None:
    """In one sentence, for each thing that can be wrong."""
    with pytest.raises(CodecError) as caught:
        codec.decode(data)
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({}, "expected a message with a method or a code"),
        (request(SET, {"a": [1]}), f"params.a: {SCALARS}"),
        (request(SET, {"a": {"b": 1}}), f"params.a: {SCALARS}"),
        (request(SET, {"a": None}), f"params.a: {SCALARS}"),
        (request(SET, {"a": float("inf")}), f"params.a: {SCALARS}"),
        (request(SET, {"a": 2**63}), "params.a: the frame has no integers of more than 64 bits"),
        (request(SET, {"a": "x" * 256}), "params.a: a text of 256 bytes, and 255 are the most"),
        (request(SET, {"a": "é" * 128}), "params.a: a text of 256 bytes, and 255 are the most"),
        (request(SET, {"a": "\ud800"}), "params.a: half of a surrogate pair is no text"),
        (request(SET, {"": 1}), "params.: the frame has no entries without a name"),
        (request(SET, {"n" * 256: 1}), f"params.{'n' * 256}: a text of 256 bytes, and 255 are the most"),
        (request(SET, [1]), "params: expected an object"),
        (request("thing.service.measurepoint.get", ["a"]), "params: expected an object"),
        (request("thing.service.", {}), "method: the frame has no kind for thing.service."),
        (request("thing.enable", {}), "method: the frame has no kind for thing.enable"),
        ({**request(SET, {}), "method": 7}, "method: expected a text"),
        ({**request(SET, {}), "sys": {}}, "sys: the frame has no place for it"),
        (request(POST, {}), "params.measurepoints: expected an object"),
        (request(POST, {"measurepoints": {}, "x": 1}), "params.x: the frame has no place for it"),
        (request(POST, {"measurepoints": {}, "time": 1.5}), "params.time: expected whole milliseconds"),
        (request(POST, {"measurepoints": {}, "time": -1}), "params.time: expected whole milliseconds"),
        (request(POST, {"measurepoints": {}, "time": 2**64 - 1}), "params.time: expected whole milliseconds"),
        (
            request("thing.measurepoint.resume", {"measurepoints": {"a": {"value": 1, "quality": 9}}}),
            f"params.measurepoints.a: {SCALARS}",
        ),
        ({"id": "7", "code": 65_536}, "code: expected a whole number from 0 to 65535"),
        ({"id": "7", "code": "200"}, "code: expected a whole number from 0 to 65535"),
        ({"id": "7", "code": True}, "code: expected a whole number from 0 to 65535"),
        ({"id": "7", "code": 200, "message": 1}, "message: expected a text"),
        ({"id": "7", "code": 200, "data": [1]}, "data: expected an object"),
        ({"id": "7", "code": 200, "sys": 1}, "sys: the frame has no place for it"),
    ],
)
def test_what_the_frame_cannot_hold_is_refused(message: dict[str, Any], said: str) -> None:
    """Nothing is left out, cut or rounded in silence; the caller reads where."""
    with pytest.raises(CodecError) as caught:
        codec.encode(message)
    assert str(caught.value) == said


@pytest.mark.parametrize("bad", [None, 7, "", "x", "-1", "007", "٣", " 7", str(2**64), "9" * 5000])
def test_an_id_that_the_frame_cannot_hold_is_refused(bad: object) -> None:
    """It must come back as it was: the answer is matched by it."""
    with pytest.raises(CodecError, match="id: expected a text of digits"):
        codec.encode({**request(SET, {}), "id": bad})


@pytest.mark.parametrize("longest", [{"a": "x" * 255}, {"a" * 255: 2**63 - 1}, {"a": -(2**63)}])
def test_what_just_fits_is_held(longest: dict[str, Any]) -> None:
    """The longest text, the longest name, the ends of 64 bits."""
    assert codec.decode(codec.encode(request(SET, longest)))["params"] == longest


def test_an_answer_need_not_have_data_or_a_message() -> None:
    """As the SDKs answer; decoded both are there."""
    answer = {"id": "7", "code": 200, "data": {}, "message": ""}
    assert codec.decode(codec.encode({"id": "7", "code": 200})) == answer
    assert codec.decode(codec.encode({"id": "7", "code": 200, "data": None, "message": None})) == answer


def test_integers_of_any_size_are_read() -> None:
    """A device need not look for the shortest form."""
    for size in (1, 2, 4, 8):
        entry = b"\x01\x01a" + bytes([size]) + (-5).to_bytes(size, "big", signed=True)
        assert codec.decode(frame(header(1) + entry))["params"] == {"a": -5}


def documented() -> list[tuple[str, str]]:
    """The examples of the document: a message as JSON, and its frame in hexadecimal digits."""
    return re.findall(r"```json\n(.*?)```\n+```hex\n(.*?)```", DOCUMENT.read_text("utf-8"), flags=re.DOTALL)


def test_the_document_has_an_example_of_each_kind() -> None:
    """By the kind in the fourth byte."""
    assert {frame.split()[3] for _, frame in documented()} == {"01", "02", "03", "04", "05"}


@pytest.mark.parametrize(("text", "digits"), documented())
def test_the_documents_examples_are_right(text: str, digits: str) -> None:
    """Byte for byte, both ways."""
    message, data = json.loads(text), bytes.fromhex(re.sub(r"#.*", "", digits))
    assert codec.encode(message).hex(" ") == data.hex(" ")
    assert codec.decode(data) == message
