"""Who reports for a sub-device, and how it is online: rows 4 and 5 of the checks, with the sender known and not."""

from __future__ import annotations

import orjson
import pytest

from enos_ingest.devices.presence import Presence
from enos_ingest.outcome import Outcome
from enos_ingest.pipeline import Message, Pipeline
from enos_ingest.protocol.identity import DeviceId
from tests.cases.requests import ALONE, BATCH, BATCHES, Uplink
from tests.cases.world import DIRECT, GATEWAY, NEIGHBOUR, SHARED, identity
from tests.uplinks.parts import directory, models

RECEIVED = 1_800_000_000_000

WAYS = {
    "offline": (False, ""),
    "own connection": (True, ""),
    "login": (False, GATEWAY),
    "login of another gateway": (False, NEIGHBOUR),
    "login and own connection": (True, GATEWAY),
    "login of another gateway and own connection": (True, NEIGHBOUR),
}
"""How a sub-device of two gateways is online: whether it is connected, and who logged it in."""

SPEAKERS = {
    "itself": (SHARED, {"own connection", "login", "login of another gateway"}),
    "its topic": ("", {"own connection", "login", "login of another gateway"}),
    "its gateway": (GATEWAY, {"login"}),
    "its other gateway": (NEIGHBOUR, {"login of another gateway"}),
}
"""Who may report for it, and the ways to be online that count for them; for a speaker without a name the topic's
device counts."""


def device(name: str) -> DeviceId:
    """A device by its name in the cases."""
    found = identity(name)
    assert isinstance(found, DeviceId)
    return found


def judge(uplink: Uplink, topic_device: str, speaker: str, way: str, item_device: str = "") -> Outcome:
    """The outcome of one good item, on the topic of one device and perhaps of another."""
    presence = Presence()
    is_connected, gateway = WAYS[way]
    if is_connected:
        presence.connect(device(SHARED))
    if gateway:
        presence.login(device(gateway), device(SHARED))
    product, _, key = item_device.partition("/")
    item = uplink.item(productKey=product, deviceKey=key)
    message = Message(
        uplink.topic.replace(GATEWAY, topic_device),
        orjson.dumps(uplink.request(uplink.params(item))),
        RECEIVED,
        device(speaker) if speaker else None,
    )
    outcome = Pipeline(directory, models(), presence).process(message)
    assert outcome is not None
    return outcome


def counts(way: str, ways: set[str]) -> bool:
    """Whether one of the parts of a situation is enough."""
    return bool(ways & {way, *way.split(" and ")})


@pytest.mark.parametrize("uplink", [*ALONE, *BATCHES], ids=lambda uplink: uplink.name)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("who", SPEAKERS)
def test_on_the_topic_of_a_sub_device(who: str, way: str, uplink: Uplink) -> None:
    """A gateway needs a login of its own; the sub-device itself is heard however it is online."""
    speaker, ways = SPEAKERS[who]
    outcome = judge(uplink, SHARED, speaker, way)
    if counts(way, ways):
        assert (outcome.code, outcome.reason) == (200, "")
        assert outcome.record is not None
        assert {point[:2] for point in outcome.record.points} == {device(SHARED)}
    else:
        assert (outcome.code, outcome.reason) == (1212, f"{uplink.path}: {SHARED} is offline")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("who", ["its gateway", "its other gateway"])
def test_on_the_topic_of_its_gateway(who: str, way: str) -> None:
    """The same for the gateway, whether its connection or only its topic is known."""
    gateway, ways = SPEAKERS[who]
    for speaker in (gateway, ""):
        outcome = judge(BATCH, gateway, speaker, way, SHARED)
        assert outcome.code == (200 if counts(way, ways) else 1212)


@pytest.mark.parametrize("way", WAYS)
def test_nobody_else_is_heard(way: str) -> None:
    """However the sub-device is online."""
    for uplink in (*ALONE, *BATCHES):
        outcome = judge(uplink, SHARED, DIRECT, way)
        assert (outcome.code, outcome.reason) == (1212, f"{DIRECT} may not report for {SHARED}")
    outcome = judge(BATCH, DIRECT, DIRECT, way, SHARED)
    assert (outcome.code, outcome.reason) == (1212, f"params[0]: {SHARED} is not a sub-device of {DIRECT}")
