"""Who speaks of which device, where a table of cases cannot say it: without a sender, and against the clock."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from enos_ingest.devices.directory import Device, Directory, Product
from enos_ingest.devices.presence import Presence
from enos_ingest.outcome import Outcome
from enos_ingest.pipeline import Message, Pipeline
from tests.cases.facts.case import Topic
from tests.cases.facts.test_in_pipeline import models
from tests.cases.facts.topics import ALARM, DEVICE_TOPICS, INT_EVENTS, UPDATE
from tests.cases.world import DIRECT, GATEWAYS, METERS
from tests.uplinks.parts import directory

RECEIVED = 1_800_000_000_000
AHEAD = 60


def judge(topic: Topic, owner: str, request: Any, *, ahead: float = 0) -> Outcome:
    """The verdict on a request whose topic alone is known."""
    pipeline = Pipeline(directory, models(), Presence(), max_future_seconds=ahead)
    outcome = pipeline.process(Message(topic.of(owner), orjson.dumps(request), RECEIVED))
    assert outcome is not None
    return outcome


@pytest.mark.parametrize("topic", DEVICE_TOPICS, ids=lambda topic: topic.name)
def test_a_device_that_is_not_registered_is_refused(topic: Topic) -> None:
    """Also where it counts as the sender itself, as with what an operator publishes."""
    outcome = judge(topic, f"{METERS}/nobody", topic.request())
    assert (outcome.code, outcome.reason) == (1009, f"device {METERS}/nobody is not registered")


@pytest.mark.parametrize("model", ["", "lost"])
def test_a_model_that_is_not_there_refuses_values(model: str) -> None:
    """A product may name none, or one that is not loaded."""
    product = DIRECT.partition("/")[0]
    registry = Directory([Product(product, model=model)], [Device(device) for device in directory().devices])
    outcome = Pipeline(lambda: registry, models(), Presence()).process(
        Message(UPDATE.of(DIRECT), orjson.dumps(UPDATE.request()), RECEIVED)
    )
    assert outcome is not None
    what = "thing model lost is not loaded" if model else "has no thing model"
    assert (outcome.code, outcome.reason) == (1204, f"params: product {product}: {what}")


@pytest.mark.parametrize(("topic", "path"), [(ALARM, "params.time"), (INT_EVENTS, "params[0].time")])
def test_an_event_may_not_lie_far_ahead(topic: Topic, path: str) -> None:
    """Where a bound is set: to the millisecond, and for none but the future."""
    owner = GATEWAYS if topic.is_integration else DIRECT
    good = topic.good[0] if topic.is_integration else topic.good

    def post(time: int, ahead: float = AHEAD) -> Outcome:
        item = {**good, "time": time}
        return judge(topic, owner, topic.request([item] if topic.is_integration else item), ahead=ahead)

    latest = RECEIVED + AHEAD * 1000
    assert post(latest).code == 200
    assert post(0).code == 200
    refused = post(latest + 1)
    assert (refused.code, refused.reason) == (1220, f"{path}: more than {AHEAD} seconds in the future")
    assert post(latest + 1, ahead=0).code == 200
