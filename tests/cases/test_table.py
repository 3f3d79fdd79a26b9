"""The table itself: how much it covers, and that every case can leave a trace of its own."""

from __future__ import annotations

from collections import Counter

from tests.cases.requests import POST, UPLINKS
from tests.cases.table import CASES

POSSIBLE = {
    *((uplink.name, code) for uplink in UPLINKS for code in (200, 1204, 1206, 1212)),
    (POST.name, 1257),
}


def test_there_are_enough_cases() -> None:
    """Cases count by their names: what tries one rule with several values counts once."""
    assert len({case.name for case in CASES}) >= 150


def test_no_two_cases_have_the_same_name() -> None:
    """A name and a variant point at one case."""
    assert [name for name, count in Counter(str(case) for case in CASES).items() if count > 1] == []


def test_every_code_occurs_on_every_topic_where_it_can() -> None:
    """And on no other."""
    assert {(case.name.partition(":")[0], case.code) for case in CASES} == POSSIBLE


def test_no_case_stores_what_another_has_stored() -> None:
    """So that what is new in the store after a case is the case's doing."""
    stored = Counter(
        (point.device, point.measurepoint, point.time, repr(point.value))
        for case in CASES
        for point in case.stored
        if point.time is not None
    )
    assert [point for point, count in stored.items() if count > 1] == []


def test_refusals_store_nothing_and_say_why() -> None:
    """No case expects otherwise."""
    assert [str(case) for case in CASES if case.code != 200 and (case.stored or not case.message)] == []
