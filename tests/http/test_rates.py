"""Buckets that fill again by the second."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from enos_ingest.http.rates import Buckets


def test_as_many_as_it_holds_at_once_then_as_fast_as_it_fills() -> None:
    """To the token, each key for itself."""
    buckets = Buckets(per_second=4, size=3, keys=10)
    assert [buckets.take("a", 0.0) for _ in range(4)] == [True, True, True, False]
    assert buckets.take("b", 0.0)
    assert not buckets.take("a", 0.249)
    assert buckets.take("a", 0.25)
    assert not buckets.take("a", 0.25)
    assert [buckets.take("a", 100.0) for _ in range(4)] == [True, True, True, False]


def test_looking_takes_nothing() -> None:
    """`has` says what `take` would, of a key never seen too."""
    buckets = Buckets(per_second=1, size=1, keys=10)
    assert buckets.has("a", 0.0)
    assert len(buckets) == 0
    assert buckets.take("a", 0.0)
    assert not buckets.has("a", 0.5)
    assert buckets.has("a", 1.0)


def test_full_buckets_are_forgotten() -> None:
    """What nobody took from for long enough is as good as new."""
    buckets = Buckets(per_second=1, size=1, keys=10)
    for name in "abc":
        buckets.take(name, 0.0)
    assert len(buckets) == 3
    buckets.take("d", 1.0)
    assert len(buckets) == 2
    buckets.take("e", 1.0)
    assert len(buckets) == 2


def test_the_one_not_used_for_longest_goes_when_there_are_too_many() -> None:
    """It finds a full bucket again, the others do not."""
    buckets = Buckets(per_second=1, size=2, keys=2)
    for name in "aab":
        buckets.take(name, 0.0)
    buckets.take("a", 0.0)
    buckets.take("c", 0.0)
    assert len(buckets) == 2
    assert [buckets.has(name, 0.0) for name in "abc"] == [False, True, True]
    assert buckets.take("b", 0.0)
    assert buckets.take("b", 0.0)


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.floats(0, 3)), max_size=60),
    st.integers(1, 5),
    st.integers(1, 5),
)
def test_no_key_gets_more_than_its_rate_allows(steps: list[tuple[str, float]], per_second: int, size: int) -> None:
    """In any span of time, as long as it is remembered; and who waits long enough gets a full bucket."""
    buckets = Buckets(per_second, size, keys=4)
    now, taken = 0.0, {name: list[float]() for name in "abcd"}
    for name, wait in steps:
        now += wait
        could = buckets.has(name, now)
        if buckets.take(name, now):
            taken[name].append(now)
            assert could
        else:
            assert not could
    for times in taken.values():
        for first in range(len(times)):
            for last in range(first, len(times)):
                assert last - first + 1 <= size + (times[last] - times[first]) * per_second + 1e-6
    assert all(buckets.has(name, now + size / per_second + 0.001) for name in "abcd")
