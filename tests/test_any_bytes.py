"""Whatever bytes arrive on a topic of measurement points, there is exactly one reply, and it is one of five codes."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson
import pytest
from hypothesis import HealthCheck, given, settings

from enos_ingest.devices.presence import Presence
from enos_ingest.outcome import Outcome
from enos_ingest.pipeline import Message, Pipeline
from enos_ingest.testing.client import TestClient
from enos_ingest.testing.hub import run_hub
from tests.cases.requests import UPLINKS, Uplink
from tests.cases.world import CHANNEL, GATEWAY, MODELS, REGISTRY, identity
from tests.uplinks.parts import directory, models
from tests.uplinks.payloads import Sent, messages

CODES = {200, 1204, 1206, 1212, 1257}
RECEIVED = 1_800_000_000_000
LATEST = 253402300799999


def judge(topic: str, sender: str, payload: bytes) -> Outcome:
    """What the pipeline says, with nobody logged in."""
    pipeline = Pipeline(directory, models(), Presence())
    outcome = pipeline.process(Message(topic, payload, RECEIVED, identity(sender)))
    assert outcome is not None
    return outcome


def is_reply(reply: dict[str, Any]) -> bool:
    """Whether a reply has the form that every SDK can read."""
    message = reply.pop("message", "text")
    return (
        list(reply) == ["id", "code", "data"]
        and isinstance(reply["id"], str)
        and type(reply["code"]) is int
        and reply["code"] in CODES
        and reply["data"] == {}
        and isinstance(message, str)
        and message != ""
    )


@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(messages())
def test_any_bytes_get_one_outcome(sent: Sent) -> None:
    """A reply that is JSON; points that can be stored, or none and a place in quarantine."""
    outcome = judge(*sent)
    assert is_reply(json.loads(outcome.reply.decode("utf-8", "strict"), parse_constant=pytest.fail))
    assert outcome.reply_topic == f"{sent.topic}_reply"
    points = outcome.record.points if outcome.record else []
    rejection = outcome.record.rejection if outcome.record else None
    if outcome.code == 200:
        assert (rejection is not None) == (outcome.skipped > 0)
        for point in points:
            assert 0 <= point.time <= LATEST
            assert orjson.loads(orjson.dumps(point.value)) == point.value
    else:
        assert points == []
        assert rejection is not None
        assert (rejection.code, rejection.payload, rejection.reason) == (outcome.code, sent.payload, outcome.reason)


class Site(NamedTuple):
    """A hub's clients, by name."""

    clients: dict[str, TestClient]
    numbers: Iterator[int]

    def replies(self, topic: str, sender: str, payload: bytes) -> list[dict[str, Any]]:
        """Everything that is answered to a payload, up to the reply to a second message."""
        client, mark = self.clients[sender], f"after {next(self.numbers)}"
        client.subscribe(f"{topic}_reply")
        client.publish(topic, payload)
        client.publish(topic, {"id": mark})
        replies: list[dict[str, Any]] = []
        while not replies or replies[-1]["id"] != mark:
            replies.append(orjson.loads(client.next_message(f"{topic}_reply")))
        return replies[:-1]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A hub with a gateway and a channel connected."""
    with (
        run_hub(registry=REGISTRY, models=MODELS) as hub,
        hub.connect(GATEWAY) as gateway,
        hub.connect(CHANNEL) as channel,
    ):
        yield Site({GATEWAY: gateway, CHANNEL: channel}, itertools.count())


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(sent=messages())
def test_any_bytes_get_one_reply_over_mqtt(site: Site, sent: Sent) -> None:
    """The same reply that the pipeline gives, once."""
    expected = orjson.loads(judge(sent.topic, sent.sender, sent.payload).reply)
    assert site.replies(*sent) == [expected]


BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", ""),
    "not UTF-8": (b'{"id":"7","version":"1.\xff0"}', "7"),
    "truncated": (b'{"id":"7","version":"1.0","params":[{"measurep', "7"),
    "truncated in front of its id": (b'{"version":"1.0","params":{"measurep', ""),
    "600 KiB": (b'{"id":"7","version":"' + b"1" * 600 * 1024 + b'"}', "7"),
    "600 KiB, its id behind them": (b'{"version":"' + b"1" * 600 * 1024 + b'","id":"7"}', ""),
    "nested 10 000 deep": (b'{"id":"7","params":' + b"[" * 10_000 + b"]" * 10_000 + b"}", "7"),
    "number of 400 digits": (b'{"id":"7","params":{"time":' + b"9" * 400 + b"}}", "7"),
    "id of 400 digits": (b'{"id":' + b"7" * 400 + b"}", "7" * 400),
    "NaN": (b'{"id":7,"params":{"measurepoints":{"temp":NaN}}}', "7"),
    "half a surrogate pair": (b'{"id":"7","version":"\\udc00"}', "7"),
    "noise": (bytes(range(256)), ""),
}


@pytest.mark.parametrize("uplink", UPLINKS, ids=lambda uplink: uplink.name)
@pytest.mark.parametrize("name", BAD)
def test_bad_payload_is_answered_1206(site: Site, uplink: Uplink, name: str) -> None:
    """With the id where it can be found; the connection lives on."""
    payload, request_id = BAD[name]
    (reply,) = site.replies(uplink.topic, uplink.sender, payload)
    assert (reply["id"], reply["code"], reply["data"]) == (request_id, 1206, {})
    assert reply["message"].startswith("payload ")
    (reply,) = site.replies(uplink.topic, uplink.sender, orjson.dumps(uplink.one()))
    assert reply == {"id": "7", "code": 200, "data": {}}
