"""Messages between the hub and the store's process."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from enos_ingest.storage.frames import Frames, to_frame


@given(
    messages=st.lists(st.none() | st.binary() | st.lists(st.integers()) | st.dictionaries(st.text(), st.floats(-1, 1))),
    cuts=st.lists(st.integers(1, 30), min_size=1),
)
def test_messages_come_out_whole_and_in_order(messages: list[Any], cuts: list[int]) -> None:
    """However the stream is cut into pieces."""
    stream = b"".join(map(to_frame, messages))
    frames, found, at, turn = Frames(), [], 0, 0
    while at < len(stream):
        step = cuts[turn % len(cuts)]
        found += frames.feed(stream[at : at + step])
        at, turn = at + step, turn + 1
    assert found == messages
    assert frames.feed(b"") == []


def test_a_long_message() -> None:
    """One of megabytes waits for its last byte."""
    frame = to_frame(bytes(3_000_000))
    frames = Frames()
    assert frames.feed(frame[:-1]) == []
    assert frames.feed(frame[-1:] + to_frame(1)) == [bytes(3_000_000), 1]
