"""What a client may not publish: what it is told, and that nobody else learns of it."""

from __future__ import annotations

import orjson
import pytest

from enos_ingest.endpoint.packets import PacketType, encode_publish
from enos_ingest.protocol.topics import Family, parse_topic
from enos_ingest.testing.hub import Hub
from tests.endpoint.publishing import connected, reply, values
from tests.endpoint.site import metric, resume, resume_topic

ITEM = {"deviceKey": "other", "measurepoints": {"n": 1}, "time": 1}

DENIED: dict[str, tuple[str, int | None, object]] = {
    "resume of another device": (resume_topic("other"), 1212, ITEM),
    "resume of an unknown device": (resume_topic("nobody"), 1212, ITEM),
    "resume of another's sub-device": (resume_topic("sub"), 1212, ITEM),
    "resume without a slash": (resume_topic("other")[1:], 1212, ITEM),
    "batch of another device": (f"{resume_topic('other')}/batch", 1212, [ITEM]),
    "post of another device": ("/sys/P/other/thing/measurepoint/post", 1212, ITEM),
    "live batch of another device": ("/sys/P/other/thing/measurepoint/post/batch", 1212, [ITEM]),
    "integration": ("/sys/P/integration/measurepoint/post", 1212, [ITEM]),
    "session of another device": (
        "/ext/session/P/gw/combine/logout",
        1009,
        {"productKey": "P", "deviceKey": "sub"},
    ),
    "unknown topic of another device": ("/sys/P/other/thing/tag/query", 1009, {}),
    "unknown session topic of another device": ("/ext/session/P/other/thing/x", 1009, {}),
    "no topic of devices": ("plant/line", None, {}),
    "reply to oneself": (f"{resume_topic('alone')}_reply", None, {}),
    "command to oneself": ("/sys/P/alone/thing/service/measurepoint/set", None, {}),
    "answer of another device": ("/sys/P/other/thing/service/measurepoint/set_reply", None, {}),
    "answer of another device to an rrpc": ("/sys/P/other/rrpc/response/1", None, {}),
}


def request(topic: str, params: object, identifier: str) -> bytes:
    """A request whose method is the one that its topic asks for."""
    parsed = parse_topic(topic)
    action = parsed.action if parsed else topic
    prefix = "integration." if parsed and parsed.family is Family.INTEGRATION else ""
    method = prefix + action.replace("/", ".")
    return orjson.dumps({"id": identifier, "version": "1.0", "method": method, "params": params})


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_what_a_device_may_not_publish_is_answered_to_it_alone(hub: Hub, qos: int) -> None:
    """With a code where somebody may wait for a reply, and acknowledged: sending it again would be no use."""
    with connected(hub, "P/alone") as device, connected(hub, "P/other") as other, connected(hub, "reader") as watcher:
        assert watcher.subscribe("#") == [0]
        assert other.subscribe("/sys/P/other/#", "/ext/session/P/other/#") == [0, 0]
        for case, (topic, code, params) in DENIED.items():
            device.send(encode_publish(topic, request(topic, params, case), qos=qos, packet_id=5))
            if code is not None:
                answered = device.message()
                document = orjson.loads(answered.payload)
                assert (answered.topic, answered.qos) == (f"{topic}_reply", min(qos, 1)), case
                assert (document["id"], document["code"], document["data"]) == (case, code, {}), case
            if qos == 1:
                assert device.expect(PacketType.PUBACK).body == b"\x00\x05", case
            if qos == 2:
                assert device.expect(PacketType.PUBREC).body == b"\x00\x05", case
                device.acknowledge(PacketType.PUBREL, 5)
                assert device.expect(PacketType.PUBCOMP).body == b"\x00\x05", case
        for client in (device, other, watcher):
            client.ping()
    assert metric(hub, "enos_ingest_publishes_denied_total") == len(DENIED)
    codes = [code for _, code, _ in DENIED.values() if code is not None]
    assert [(entry.publisher, entry.code) for entry in hub.quarantine()] == [("P/alone", code) for code in codes]
    assert hub.points("P/other") == hub.points("P/sub") == []


def test_what_is_denied_and_no_request_is_told_so_first(hub: Hub) -> None:
    """The order of the checks is the same for all."""
    with connected(hub, "P/alone") as device:
        device.send(encode_publish(resume_topic("other"), b"{", qos=1, packet_id=5))
        assert reply(device) == (f"{resume_topic('other')}_reply", 1206)
        device.expect(PacketType.PUBACK)


def test_what_is_denied_with_qos_2_is_answered_once(hub: Hub) -> None:
    """Also where the packet is sent again before PUBREL."""
    sent = encode_publish(resume_topic("other"), resume(1), qos=2, packet_id=5)
    with connected(hub, "P/alone") as device:
        device.send(sent)
        assert reply(device) == (f"{resume_topic('other')}_reply", 1212)
        device.expect(PacketType.PUBREC)
        device.send(bytes((sent[0] | 8,)) + sent[1:])
        device.expect(PacketType.PUBREC)
        device.ping()
    assert len(hub.quarantine()) == 1


def test_an_unknown_topic_of_ones_own_is_answered_1009(hub: Hub) -> None:
    """It is allowed, but means nothing here."""
    with connected(hub, "P/alone") as device:
        device.subscribe("/sys/P/alone/#")
        device.publish("/sys/P/alone/thing/log/post", b'{"id":"1"}')
        assert reply(device) == ("/sys/P/alone/thing/log/post_reply", 1009)


def test_scopes_of_operators(hub: Hub) -> None:
    """Who only reads publishes nothing, who only writes hears nothing, nobody commands devices."""
    with connected(hub, "reader") as reader, connected(hub, "writer") as writer, connected(hub, "P/alone") as device:
        assert reader.subscribe("#") == [0]
        assert writer.subscribe("plant/line", "#") == [0x80, 0x80]
        assert device.subscribe("/sys/P/alone/#") == [0]
        reader.publish(resume_topic("alone"), resume(1))
        reader.publish("plant/line", b"x")
        writer.publish("/sys/P/alone/thing/service/measurepoint/set", b"{}")
        writer.publish(f"{resume_topic('alone')}_reply", b"{}")
        writer.publish(resume_topic("alone"), resume(2))
        assert reader.message().payload == resume(2)
        assert reply(reader) == (f"{resume_topic('alone')}_reply", 200)
        for client in (reader, writer, device):  # the device did not ask, so it hears nothing
            client.ping()
    assert values(hub) == [2]
    assert metric(hub, "enos_ingest_publishes_denied_total") == 4
