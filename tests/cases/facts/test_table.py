"""The table itself."""

from __future__ import annotations

from enos_ingest.uplinks import attributes, events, tags
from enos_ingest.uplinks.route import Route
from tests.cases.facts.table import FACT_CASES
from tests.cases.facts.topics import TOPICS

_ROUTES: tuple[Route, ...] = (*attributes.ROUTES, *events.ROUTES, *tags.ROUTES)


def test_every_case_has_a_name_of_its_own() -> None:
    """Or one would be looked for where another one fails."""
    names = [str(case) for case in FACT_CASES]
    assert sorted(names) == sorted(set(names))


def test_every_route_has_its_cases() -> None:
    """Accepted, and refused with each code that the protocol has for it."""
    assert {route.name for route in _ROUTES} == {topic.action.replace("alarm", "+") for topic in TOPICS}
    for topic in TOPICS:
        codes = {case.code for case in FACT_CASES if case.name.startswith(f"{topic.name}:")}
        expected = {200, 1220, 1251, 1009}
        expected |= set() if "event" in topic.name else {1260}
        expected |= {1204} if topic.needs_model else set()
        expected |= {1257} if topic.is_integration else {1212}
        if topic.name != "integration attributes, old topic":  # the same handler; its envelope is tried alone
            assert codes == expected, topic.name
