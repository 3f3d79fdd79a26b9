"""Commands as messages: what the SDKs look for is there."""

from __future__ import annotations

import orjson
import pytest

from enos_ingest.commands.downlink import (
    answer_topic,
    invoke_service,
    is_raw,
    parse_answer_topic,
    raw_topic,
    set_measurepoint,
)
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.protocol.topics import parse_topic

DEVICE = DeviceId("EbxGvUrE", "gw-1")
ID = "127000000000000001"


@pytest.mark.parametrize("value", [1, 1.0, "on", True, [1, 2.5], {"a": None}], ids=repr)
def test_a_value_goes_out_as_it_is(value: object) -> None:
    """Under the point's name, with everything that the C SDK insists on."""
    topic, payload = set_measurepoint(ID, DEVICE, "temp.max", value)
    assert topic == "/sys/EbxGvUrE/gw-1/thing/service/measurepoint/set"
    sent = orjson.loads(payload)
    assert list(sent) == ["id", "version", "method", "params"]
    assert sent["id"] == ID
    assert sent["version"] == "1.0"
    assert sent["method"] == "thing.service.measurepoint.set"
    assert orjson.dumps(sent["params"]) == orjson.dumps({"temp.max": value})


def test_a_service_is_invoked_on_a_topic_of_its_own() -> None:
    """With its inputs as they are."""
    topic, payload = invoke_service(ID, DEVICE, "restart", {"delay": 3, "why": "straße"})
    assert topic == "/sys/EbxGvUrE/gw-1/thing/service/restart"
    assert orjson.loads(payload) == {
        "id": ID,
        "version": "1.0",
        "method": "thing.service.restart",
        "params": {"delay": 3, "why": "straße"},
    }


@pytest.mark.parametrize(
    "topic",
    [
        set_measurepoint(ID, DEVICE, "temp", 1)[0],
        invoke_service(ID, DEVICE, "restart", {})[0],
        raw_topic(DEVICE),
    ],
)
def test_a_command_is_for_a_device_and_its_answer_is_not(topic: str) -> None:
    """So a device may send the answer, and nobody the command; only the raw one's answer needs a codec."""
    command, answer = parse_topic(topic), parse_answer_topic(answer_topic(topic))
    assert command is not None
    assert command.is_to_device
    assert parse_answer_topic(topic) is None
    assert answer is not None
    assert not answer.is_to_device
    assert answer.owner == DEVICE
    assert is_raw(answer) == (topic == raw_topic(DEVICE))


@pytest.mark.parametrize(
    "name",
    [
        "/sys/P/d/thing/measurepoint/resume_reply",
        "/sys/P/d/thing/disable_reply",
        "/sys/P/d/thing/model/up_raw_reply",
        "/sys/P/integration/thing/service/x_reply",
        "/ext/session/P/d/thing/service/x_reply",
        "/sys/P/d/rrpc/response/1",
        "plant/line",
    ],
)
def test_other_topics_carry_no_answers_to_commands(name: str) -> None:
    """Whatever comes in there."""
    assert parse_answer_topic(name) is None


def test_both_spellings_of_an_answers_topic_are_read() -> None:
    """With the leading slash and without."""
    for slash in ("/", ""):
        topic = parse_answer_topic(f"{slash}sys/P/d/thing/service/measurepoint/set_reply")
        assert topic is not None
        assert topic.owner == DeviceId("P", "d")
