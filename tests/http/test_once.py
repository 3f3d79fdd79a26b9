"""What is taken once: logins and signed calls."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from enos_ingest.http.once import CLOCK_MILLISECONDS, Once

CLOCK = 1_795_221_824_968


def test_the_same_is_taken_once() -> None:
    """The same is the same timestamp with the same text."""
    once = Once(10)
    assert once.take(CLOCK, "a", CLOCK)
    assert not once.take(CLOCK, "a", CLOCK)
    assert once.take(CLOCK, "b", CLOCK)
    assert once.take(CLOCK + 1, "a", CLOCK)
    assert once.take(CLOCK - 1, "a", CLOCK)


def test_beyond_its_size_the_oldest_is_forgotten_and_nothing_as_old_is_taken() -> None:
    """By timestamps, in whatever order they come; what is newer is taken all along."""
    once = Once(3)
    assert all(once.take(CLOCK + number, "a", CLOCK) for number in (5, 1, 9, 7))
    assert len(once) == 3
    assert not once.take(CLOCK + 1, "a", CLOCK)
    assert not once.take(CLOCK + 1, "b", CLOCK)
    assert not once.take(CLOCK, "c", CLOCK)
    assert once.take(CLOCK + 2, "c", CLOCK), "it is forgotten at once"
    assert not once.take(CLOCK + 2, "c", CLOCK)
    assert not once.take(CLOCK + 5, "a", CLOCK)


def test_what_can_no_longer_come_is_forgotten_little_by_little() -> None:
    """Two for each that comes: a burst of a hundred thousand would take long in one go."""
    once = Once(100)
    for number in range(50):
        once.take(CLOCK + number, "a", CLOCK)
    later = CLOCK + 49 + CLOCK_MILLISECONDS
    assert once.take(later, "a", later)
    assert len(once) == 49
    assert not any(once.take(CLOCK + number, "a", later) for number in range(50))
    for number in range(1, 60):
        assert once.take(later + number, "a", later + number)
    assert len(once) == 60


def test_what_has_become_too_old_since_it_was_looked_at_is_taken_once_too() -> None:
    """Its body may have taken a while."""
    once = Once(10)
    assert once.take(CLOCK, "a", CLOCK + CLOCK_MILLISECONDS + 1)
    assert len(once) == 0
    assert not once.take(CLOCK, "a", CLOCK + CLOCK_MILLISECONDS + 1)


@given(
    st.integers(1, 8),
    st.lists(st.tuples(st.integers(0, 12), st.sampled_from("ab"), st.integers(0, 3)), max_size=60),
)
def test_nothing_is_taken_twice(size: int, steps: list[tuple[int, str, int]]) -> None:
    """Whatever comes, in whatever order, while the clock goes on: and it holds no more than it may."""
    once, clock, taken = Once(size), CLOCK, set()
    for ahead, text, passed in steps:
        clock += passed * CLOCK_MILLISECONDS // 4
        entry = CLOCK + ahead * CLOCK_MILLISECONDS // 4, text
        if abs(entry[0] - clock) <= CLOCK_MILLISECONDS and once.take(*entry, clock):
            assert entry not in taken
            taken.add(entry)
        assert len(once) <= size
