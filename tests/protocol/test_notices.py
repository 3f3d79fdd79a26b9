"""What devices are told unasked, as the documents print it."""

from __future__ import annotations

import orjson
import pytest

from enos_ingest.protocol.identity import DeviceId
from enos_ingest.protocol.notices import Action, activation_info, activation_topic, to_device, to_gateway
from enos_ingest.protocol.topics import parse_topic

GATEWAY, SUB = DeviceId("EbxGvUrE", "gw-1"), DeviceId("Sb7PkXyZ", "sub001")


def test_a_secret_follows_its_name_as_a_plain_string() -> None:
    """The C SDK looks for the one, and takes the other."""
    assert activation_topic(SUB) == "/ext/session/Sb7PkXyZ/sub001/thing/activate/info"
    assert activation_info("123", SUB, "asset", "s3cret") == (
        b'{"id":"123","version":"1.0","method":"thing.activate.info","params":{"assetId":"asset",'
        b'"productKey":"Sb7PkXyZ","deviceKey":"sub001","deviceSecret":"s3cret"}}'
    )


@pytest.mark.parametrize("action", ["enable", "disable", "delete"])
def test_what_was_done_with_a_device_is_said_to_itself_and_to_its_gateway(action: Action) -> None:
    """The gateway gets a list, as documented."""
    topic, payload = to_device("1", action, SUB)
    assert topic == f"/sys/Sb7PkXyZ/sub001/thing/{action}"
    assert orjson.loads(payload) == {"id": "1", "version": "1.0", "method": f"thing.{action}", "params": {}}
    topic, payload = to_gateway("2", action, GATEWAY, SUB)
    assert topic == f"/ext/session/EbxGvUrE/gw-1/combine/{action}"
    keys = {"productKey": "Sb7PkXyZ", "deviceKey": "sub001"}
    assert orjson.loads(payload) == {"id": "2", "version": "1.0", "method": f"combine.{action}", "params": [keys]}


@pytest.mark.parametrize(
    "topic", [activation_topic(SUB), to_device("1", "disable", SUB)[0], to_gateway("1", "delete", GATEWAY, SUB)[0]]
)
def test_such_a_topic_leads_to_the_device_and_its_answer_back(topic: str) -> None:
    """So that neither is taken for the other."""
    asked, answered = parse_topic(topic), parse_topic(f"{topic}_reply")
    assert asked is not None
    assert answered is not None
    assert (asked.is_to_device, answered.is_to_device) == (True, False)
    assert (asked.is_request, answered.is_request) == (False, False)
