"""What the hub and its worker say to each other, in any slicing."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enos_ingest.codecs.exchange import Answer, Answers, Operation, Request, Status, read_request

requests = st.builds(
    Request,
    st.sampled_from(Operation),
    st.text("abc.:é", max_size=9),
    st.binary(max_size=20),
    st.integers(0, 2**32 - 1),
)
answers = st.builds(Answer, st.sampled_from(Status), st.binary(max_size=20))


@given(st.lists(requests, max_size=4))
def test_requests_are_read_as_they_were_written(sent: list[Request]) -> None:
    """One after the other, to the end of the stream."""
    stream = io.BytesIO(b"".join(request.to_bytes() for request in sent))
    assert [read_request(stream) for _ in sent] == sent
    assert read_request(stream) is None


@given(requests, st.data())
def test_a_request_that_breaks_off_is_none(request: Request, data: st.DataObject) -> None:
    """The hub has gone while it wrote."""
    whole = request.to_bytes()
    assert read_request(io.BytesIO(whole[: data.draw(st.integers(0, len(whole) - 1))])) is None


@given(st.lists(answers, max_size=4), st.integers(1, 9))
def test_answers_come_out_of_any_slicing(sent: list[Answer], step: int) -> None:
    """Each as soon as it is whole."""
    data = b"".join(answer.to_bytes() for answer in sent)
    reader = Answers(20)
    slices = [data[at : at + step] for at in range(0, len(data), step)]
    assert [answer for each in slices for answer in reader.feed(each)] == sent


@pytest.mark.parametrize("data", [bytes(4), (22).to_bytes(4, "big"), b"\xff" * 4, b"\x00\x00\x00\x01\x07"])
def test_what_is_no_answer_is_refused(data: bytes) -> None:
    """Without a status, longer than any, of an unknown status."""
    with pytest.raises(ValueError, match=r"an answer of|not a valid Status"):
        list(Answers(20).feed(data))


def test_the_longest_answer_is_read() -> None:
    """One byte more is refused, above."""
    longest = Answer(Status.DONE, bytes(20))
    assert list(Answers(20).feed(longest.to_bytes())) == [longest]
