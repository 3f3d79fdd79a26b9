"""Command ids: 18 digits, rising, whatever the clock does and whoever made the last one."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enos_ingest.commands.ids import CommandIds

NOW = 1_795_221_525_130
FIRST, LAST = 10**17, 10**18 - 1


def stopped(time: int = NOW, *, node: int = 0, after: int = 0) -> CommandIds:
    """Ids by a clock that stands still."""
    return CommandIds(node, lambda: time, after)


def test_an_id_tells_when_and_where_it_was_made() -> None:
    """Milliseconds since 2010, the node, and a count."""
    ids = stopped(node=3)
    first, second = int(ids.next()), int(ids.next())
    epoch = datetime(2010, 1, 1, tzinfo=UTC).timestamp() * 1000
    assert first >> 18 == NOW - epoch
    assert first >> 10 & 255 == 3
    assert (first & 1023, second) == (0, first + 1)


@pytest.mark.parametrize("year", [2022, 2026, 2129])
def test_an_id_has_18_digits(year: int) -> None:
    """No more, for the C SDK, and no leading zero."""
    found = stopped(int(datetime(year, 6, 1, tzinfo=UTC).timestamp() * 1000)).next()
    assert len(found) == 18
    assert found.isdigit()
    assert found[0] != "0"


@given(
    times=st.lists(st.integers(-(10**13), 4 * 10**12), min_size=1, max_size=50),
    node=st.integers(0, 255),
    after=st.just(0) | st.integers(FIRST, 9 * 10**17),
)
def test_ids_rise_whatever_the_clock_does(times: list[int], node: int, after: int) -> None:
    """A clock that jumps, forward or back, before 2010 or before the last id of another run."""
    clock = iter(times)
    ids = CommandIds(node, lambda: next(clock), after)
    made = [ids.next() for _ in times]
    numbers = [after, *map(int, made)]
    assert all(left < right for left, right in pairwise(numbers))
    assert all(len(each) == 18 and int(each) >> 10 & 255 == node for each in made)


def test_more_than_a_millisecond_holds_go_into_the_next() -> None:
    """At 1024 a millisecond is full: the 1025th id is of the next one, and the clock is caught up with."""
    times = [NOW] * 1025 + [NOW + 1, NOW + 2]
    clock = iter(times)
    ids = CommandIds(0, lambda: next(clock))
    made = [int(ids.next()) for _ in times]
    start = made[0] >> 18
    assert [each >> 18 for each in made[1022:]] == [start, start, start + 1, start + 1, start + 2]
    assert len(set(made)) == len(times)


def test_two_nodes_never_make_the_same_id() -> None:
    """Not even in one millisecond, nor after the last id of the other."""
    left, right = stopped(node=1), stopped(node=2)
    made = {ids.next() for _ in range(2000) for ids in (left, right)}
    assert len(made) == 4000
    last = max(map(int, made))
    assert int(stopped(node=1, after=last).next()) > last


@pytest.mark.parametrize("node", [-1, 256])
def test_a_node_is_a_number_of_8_bits(node: int) -> None:
    with pytest.raises(ValueError, match=f"node {node}: expected 0 to 255"):
        stopped(node=node)


def test_without_an_id_left_nothing_is_made_up() -> None:
    """After the last id of 18 digits there is none, and the next try says the same."""
    end = (10**18 >> 18) + 1_262_304_000_000
    assert int(stopped(end - 1).next()) <= LAST
    ids = stopped(end)
    for _ in range(2):
        with pytest.raises(OverflowError, match="set the clock right"):
            ids.next()
    ids = stopped(after=LAST)
    with pytest.raises(OverflowError, match="set the clock right"):
        ids.next()
