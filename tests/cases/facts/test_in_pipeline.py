"""Every case judged by the pipeline alone, with the sender known."""

from __future__ import annotations

from functools import cache
from typing import Any

import orjson
import pytest

from enos_ingest.devices.presence import Presence
from enos_ingest.models.document import parse_thing_model
from enos_ingest.models.validator import CompiledModel
from enos_ingest.pipeline import Message, Pipeline
from tests.cases.facts.case import Answer, FactCase, check, encoded
from tests.cases.facts.memory import Memory
from tests.cases.facts.table import FACT_CASES
from tests.cases.facts.world import FACT_MODELS
from tests.cases.world import SOLO, identity
from tests.uplinks.parts import directory

RECEIVED = 1_800_000_000_000


@cache
def models() -> dict[str, CompiledModel]:
    """The thing models by modelId."""
    return {model["modelId"]: CompiledModel(parse_thing_model(model, model["modelId"])) for model in FACT_MODELS}


def judge(case: FactCase) -> Answer:
    """What the pipeline makes of a case."""
    presence = Presence()
    presence.connect(identity(SOLO))  # type: ignore[arg-type]
    for gateway, sub_device in case.online:
        presence.login(identity(gateway), identity(sub_device))  # type: ignore[arg-type]
    pipeline = Pipeline(directory, models(), presence)
    memory = Memory()

    def send(topic: str, request: Any, sender: str | None) -> Answer:
        publisher = identity(sender) if sender else None
        outcome = pipeline.process(Message(topic, encoded(request), RECEIVED, publisher))
        assert outcome is not None
        reply = memory.settle(outcome)
        assert outcome.code == orjson.loads(reply)["code"]
        rejections = [outcome.record.rejection] if outcome.record and outcome.record.rejection else []
        return Answer(outcome.reply_topic, reply, memory.facts, rejections, (RECEIVED, RECEIVED))

    for topic, request in case.before:
        assert orjson.loads(send(topic, request, None).reply)["code"] == 200
    return send(case.topic, case.request, case.sender)


@pytest.mark.parametrize("case", FACT_CASES, ids=str)
def test_case(case: FactCase) -> None:
    """Code, message, data, id, stored facts and quarantine are as the case says."""
    check(case, judge(case), str(identity(case.sender)))
