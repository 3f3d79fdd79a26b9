"""Every case judged by the pipeline alone, with the sender known."""

from __future__ import annotations

import pytest

from enos_ingest.devices.presence import Presence
from enos_ingest.outcome import Point, Record
from enos_ingest.pipeline import Message, Pipeline
from tests.cases.case import Answer, Case, check
from tests.cases.table import CASES
from tests.cases.world import identity
from tests.uplinks.parts import directory, models

RECEIVED = 1_800_000_000_000


def judge(case: Case) -> Answer:
    """What the pipeline makes of a case, stored as a store would: the last of two equal points wins."""
    presence = Presence()
    for name in case.connected:
        presence.connect(identity(name))  # type: ignore[arg-type]
    for gateway, sub_device in case.online:
        presence.login(identity(gateway), identity(sub_device))  # type: ignore[arg-type]
    pipeline = Pipeline(directory, models(), presence)
    outcome = pipeline.process(Message(case.topic, case.payload, RECEIVED, identity(case.sender)))
    assert outcome is not None
    assert outcome.code == case.code
    record = outcome.record or Record([])
    stored: dict[tuple[object, ...], Point] = {point[:4]: point for point in record.points}
    rejections = [record.rejection] if record.rejection else []
    return Answer(outcome.reply_topic, outcome.reply, list(stored.values()), rejections, (RECEIVED, RECEIVED))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case: Case) -> None:
    """Code, message, id, stored points and quarantine are as the case says."""
    check(case, judge(case), str(identity(case.sender)))
