"""Random batches against the table of checks, written down a second time in a few lines."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from enos_ingest.devices.presence import Presence
from enos_ingest.outcome import Outcome
from enos_ingest.pipeline import Message, Pipeline
from enos_ingest.protocol.identity import DeviceId
from tests.cases.requests import BATCH
from tests.cases.world import BARE_SUB, FREE, GATEWAY, NEIGHBOURS_SUB, SUB_1, SUB_2, SUB_3, identity
from tests.uplinks.parts import directory, models

RECEIVED = 1_800_000_000_000
ITSELF = ""

POINTS: dict[str, list[Any]] = {
    "temp": [1.5, 1, -2e10],
    "Power": [1, {"value": 1, "quality": 9}],
    "branchCurr": [["1.02", 2], []],
}
FAULTS: dict[str, list[Any]] = {
    "temp": ["1.5", None, True],
    "Power": [1.5, {"value": 1}],
    "branchCurr": [[None], 1],
    "nope": [1],
}


class Item(NamedTuple):
    """One item: whose it is, and its points with their verdicts."""

    device: str
    points: dict[str, tuple[Any, bool]]
    time: int | None

    @property
    def is_valid(self) -> bool:
        """Whether every point matches the model."""
        return all(valid for _, valid in self.points.values())

    def document(self) -> dict[str, Any]:
        """The item on the wire."""
        product, _, key = self.device.partition("/")
        return {
            "productKey": product,
            "deviceKey": key,
            "measurepoints": {name: value for name, (value, _) in self.points.items()},
            "time": self.time,
        }


def values(table: dict[str, list[Any]], *, valid: bool) -> st.SearchStrategy[tuple[str, tuple[Any, bool]]]:
    """A point of the table with one of its values, and the verdict on it."""
    pairs = [(name, (value, valid)) for name, several in table.items() for value in several]
    return st.sampled_from(pairs)


GOOD, ANY = values(POINTS, valid=True), st.one_of(values(POINTS, valid=True), values(FAULTS, valid=False))
DEVICES = st.sampled_from([ITSELF, ITSELF, SUB_1, SUB_1, SUB_2, SUB_3, BARE_SUB, NEIGHBOURS_SUB, FREE, "Nowhere0/x"])
TIMES = st.one_of(st.none(), st.integers(0, 5))


def items(points: st.SearchStrategy[Any], devices: st.SearchStrategy[str] = DEVICES) -> st.SearchStrategy[list[Item]]:
    """A few items with a few points."""
    several = st.lists(points, max_size=3).map(dict)
    return st.lists(st.builds(Item, devices, several, TIMES), min_size=1, max_size=4)


ONLINE = st.sets(st.sampled_from([SUB_1, SUB_2, SUB_3, BARE_SUB]))


def judge(batch: list[Item], online: set[str], *, skip: bool, allow: bool) -> Outcome:
    """What the pipeline says."""
    presence = Presence()
    gateway = identity(GATEWAY)
    assert isinstance(gateway, DeviceId)
    for name in online:
        presence.login(gateway, identity(name))  # type: ignore[arg-type]
    request = BATCH.request(
        [item.document() for item in batch], skipInvalidMeasurepoints=skip, allowOfflineSubDevice=allow
    )
    pipeline = Pipeline(directory, models(), presence)
    outcome = pipeline.process(Message(BATCH.topic, orjson.dumps(request), RECEIVED, gateway))
    assert outcome is not None
    return outcome


def first_code(batch: list[Item], online: set[str], *, skip: bool, allow: bool) -> int:
    """The first code that occurs, as the table has it."""
    for item in batch:
        if item.device in (NEIGHBOURS_SUB, FREE, "Nowhere0/x"):
            return 1212
        if item.device != ITSELF and item.device not in online and not allow:
            return 1212
        if item.device == BARE_SUB:
            return 1204
        if not item.is_valid and not skip:
            return 1204
    return 200


@settings(max_examples=400, deadline=None)
@given(items(ANY), ONLINE, st.booleans(), st.booleans())
def test_first_code_that_occurs_answers(batch: list[Item], online: set[str], skip: bool, allow: bool) -> None:
    """And it is all or nothing, but for what the flags let go."""
    outcome = judge(batch, online, skip=skip, allow=allow)
    assert outcome.code == first_code(batch, online, skip=skip, allow=allow)
    points = outcome.record.points if outcome.record else []
    if outcome.code != 200:
        assert points == []
        assert outcome.record is not None
        assert outcome.record.rejection is not None
        return
    sent = [
        (item.device or GATEWAY, name, RECEIVED if item.time is None else item.time)
        for item in batch
        for name, (_, valid) in item.points.items()
        if valid
    ]
    assert [(f"{point.product_key}/{point.device_key}", point.measurepoint, point.time) for point in points] == sent
    assert outcome.skipped == sum(not valid for item in batch for _, valid in item.points.values())


@settings(max_examples=200, deadline=None)
@given(items(ANY), ONLINE)
def test_both_flags_leave_two_reasons(batch: list[Item], online: set[str]) -> None:
    """A valid envelope from a rightful sender is declined for a foreign device or a missing thing model alone."""
    outcome = judge(batch, online, skip=True, allow=True)
    devices = {item.device for item in batch}
    if devices & {NEIGHBOURS_SUB, FREE, "Nowhere0/x", BARE_SUB}:
        assert outcome.code in (1212, 1204)
        assert outcome.code != 1204 or BARE_SUB in devices
    else:
        assert outcome.code == 200


@settings(max_examples=200, deadline=None)
@given(items(GOOD, st.sampled_from([ITSELF, SUB_1, SUB_2])), st.booleans(), st.booleans())
def test_good_batch_needs_no_flag(batch: list[Item], skip: bool, allow: bool) -> None:
    """With everyone online and every point valid the flags change nothing."""
    outcome = judge(batch, {SUB_1, SUB_2}, skip=skip, allow=allow)
    assert (outcome.code, outcome.skipped) == (200, 0)
    assert outcome == judge(batch, {SUB_1, SUB_2}, skip=False, allow=False)
