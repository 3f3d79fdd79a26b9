"""What becomes of a PUBLISH: who gets it, what is answered, what is dropped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import orjson
import pytest

from enos_ingest.endpoint.packets import PacketType, encode_publish
from enos_ingest.protocol.credentials import Credentials
from enos_ingest.protocol.topics import Family, parse_topic
from enos_ingest.testing.hub import Hub, run_hub
from tests.endpoint import inside
from tests.endpoint.raw import RawClient, connect_packet, subscribe_packet, unsubscribe_packet
from tests.endpoint.site import MODELS, REGISTRY, metric, operator, resume, resume_topic
from tests.endpoint.waiting import eventually

if TYPE_CHECKING:
    from enos_ingest.testing import HubFactory


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A hub for each test: points are counted."""
    with run_hub(registry=REGISTRY, models=MODELS) as running:
        yield running


def connected(hub: Hub, who: str, will: tuple[str, bytes] | None = None, *, will_retain: bool = False) -> RawClient:
    """A device `P/...` or an operator that was let in."""
    credentials: Credentials = hub.credentials(who) if "/" in who else operator(who)
    client = RawClient(hub)
    assert client.connect(connect_packet(credentials, will=will, will_retain=will_retain)) == 0
    return client


def values(hub: Hub, device: str = "P/alone") -> list[object]:
    """What is stored of a device."""
    return [stored.value for stored in hub.points(device)]


def reply(client: RawClient) -> tuple[str, int]:
    """The topic and code of the next message."""
    message = client.message()
    return message.topic, orjson.loads(message.payload)["code"]


def retained(packet: bytes) -> bytes:
    """The same PUBLISH with the retain flag."""
    return bytes((packet[0] | 1,)) + packet[1:]


def test_a_device_gets_its_reply_and_a_watcher_sees_both(hub: Hub) -> None:
    """Request and reply; nobody else gets either."""
    topic = resume_topic("alone")
    with connected(hub, "P/alone") as device, connected(hub, "reader") as watcher, connected(hub, "P/gw") as other:
        assert device.subscribe(f"{topic}_reply", qos=1) == [1]
        assert watcher.subscribe("/sys/P/alone/#") == [0]
        assert other.subscribe("/sys/+/+/thing/measurepoint/resume_reply") == [0]
        device.publish(topic, resume(7, identifier="42"))
        answered = device.message()
        assert (answered.topic, answered.qos, answered.retain) == (f"{topic}_reply", 1, False)
        assert orjson.loads(answered.payload) == {"id": "42", "code": 200, "data": {}}
        device.acknowledge(PacketType.PUBACK, answered.packet_id)
        assert [watcher.message().topic, watcher.message().topic] == [topic, f"{topic}_reply"]
        other.ping()
    assert values(hub) == [7]


def test_a_filter_with_plus_for_the_keys_means_mine(hub: Hub) -> None:
    """It is granted, and caps the QoS of what a device is answered; nobody hears what others are answered."""
    mine = "/sys/+/+/thing/measurepoint/resume_reply"
    with connected(hub, "P/gw") as gateway, connected(hub, "P/sub") as sub, connected(hub, "P/alone") as alone:
        for client in (gateway, sub, alone):
            assert client.subscribe(mine) == [0]
        sub.publish(resume_topic("sub"), resume(1))
        assert reply(sub) == (f"{resume_topic('sub')}_reply", 200)
        gateway.publish(resume_topic("gw"), resume(2))
        answered = gateway.message()
        assert (answered.topic, answered.qos) == (f"{resume_topic('gw')}_reply", 0)
        for client in (gateway, sub, alone):
            client.ping()


@pytest.mark.parametrize(("asked", "subscribed", "answered"), [
    (0, None, 0), (1, None, 1), (2, None, 1), (1, 0, 0), (1, 1, 1), (2, 2, 1), (0, 1, 0),
])  # fmt: skip
def test_a_reply_comes_unasked_at_the_qos_of_its_request(
    hub: Hub, asked: int, subscribed: int | None, answered: int
) -> None:
    """No higher than 1, nor than a subscription; a reply of QoS 1 goes once, whether or not it is acknowledged."""
    topic = resume_topic("alone")
    with connected(hub, "P/alone") as device:
        if subscribed is not None:
            assert device.subscribe(f"{topic}_reply", qos=subscribed) == [min(subscribed, 1)]
        device.send(encode_publish(topic, resume(1), qos=asked, packet_id=asked and 7))
        message = device.message()
        assert (message.topic, message.qos, message.retain) == (f"{topic}_reply", answered, False)
        if asked:
            device.expect(PacketType.PUBACK if asked == 1 else PacketType.PUBREC)
        device.ping()


def test_replies_and_acknowledgements_come_in_the_order_of_receipt(hub: Hub) -> None:
    """Each reply right before its PUBACK, what is accepted and what is refused in one row. [MQTT-4.6.0-2]"""
    topic = resume_topic("alone")
    bodies = [resume("no number" if number % 3 else 1, time=number, identifier=str(number)) for number in range(200)]
    with connected(hub, "P/alone") as device:
        device.send(*(encode_publish(topic, body, qos=1, packet_id=1 + number) for number, body in enumerate(bodies)))
        for number in range(len(bodies)):
            document = orjson.loads(device.message().payload)
            assert (document["id"], document["code"]) == (str(number), 1204 if number % 3 else 200)
            assert device.expect(PacketType.PUBACK).body == (1 + number).to_bytes(2)
        device.ping()


def test_packet_ids_of_replies_are_not_reused_before_they_are_acknowledged(enos_hub: HubFactory) -> None:
    """[MQTT-2.3.1-4]; with too many out the rest goes with QoS 0, and none is lost."""
    hub = enos_hub(registry=REGISTRY, models=MODELS, settings={"limits.unacknowledged": 3})
    topic = resume_topic("alone")

    def answers(device: RawClient, count: int) -> list[int]:
        device.send(*(encode_publish(topic, resume(1), qos=1, packet_id=1 + number) for number in range(count)))
        packets = [device.receive() for _ in range(2 * count)]
        return [packet.publish.packet_id for packet in packets if packet and packet.kind is PacketType.PUBLISH]

    with connected(hub, "P/alone") as device:
        assert answers(device, 5) == [1, 2, 3, 0, 0]
        device.acknowledge(PacketType.PUBACK, 2)
        assert answers(device, 2) == [4, 0]
        for packet_id in (1, 3, 4, 4, 999):
            device.acknowledge(PacketType.PUBACK, packet_id)
        assert answers(device, 4) == [5, 6, 7, 0]


def test_no_reply_comes_after_unsubscribe(hub: Hub) -> None:
    """The Java SDK says so before it sends without waiting."""
    topic = resume_topic("alone")
    with connected(hub, "P/alone") as device, connected(hub, "reader") as watcher:
        watcher.subscribe(f"{topic}_reply")
        device.subscribe(f"{topic}_reply")
        device.unsubscribe(f"{topic}_reply")
        device.publish(topic, resume(1))
        assert reply(watcher) == (f"{topic}_reply", 200)
        device.ping()


def test_subscriptions_take_effect_in_the_order_they_were_sent(hub: Hub) -> None:
    """Without waiting for an acknowledgement in between; the last one counts."""
    topic = resume_topic("alone")
    on, off = subscribe_packet(f"{topic}_reply"), unsubscribe_packet(f"{topic}_reply")
    with connected(hub, "P/alone") as device:
        device.send(on, off, on, off, on, encode_publish(topic, resume(1)))
        for kind in (*(PacketType.SUBACK, PacketType.UNSUBACK) * 2, PacketType.SUBACK):
            device.expect(kind)
        assert reply(device) == (f"{topic}_reply", 200)
        device.send(off, on, off, encode_publish(topic, resume(1)))
        for kind in (PacketType.UNSUBACK, PacketType.SUBACK, PacketType.UNSUBACK):
            device.expect(kind)
        device.publish(topic, resume(1))
        device.ping()


def test_a_report_may_follow_its_subscription_at_once(hub: Hub) -> None:
    """The Python SDK does not wait for SUBACK, the C SDK sends dozens of subscriptions first: the reply comes."""
    topic = resume_topic("alone")
    others = [subscribe_packet(f"/sys/P/alone/thing/service/{number}") for number in range(50)]
    with connected(hub, "P/alone") as device:
        device.send(*others, subscribe_packet(f"{topic}_reply"), encode_publish(topic, resume(1)))
        for _ in range(len(others) + 1):
            device.expect(PacketType.SUBACK)
        assert reply(device) == (f"{topic}_reply", 200)


def test_subscriptions_do_not_wait_for_retained_messages_to_be_acknowledged(hub: Hub) -> None:
    """A client may send all its subscriptions before it looks at what comes."""
    with connected(hub, "alice") as alice, connected(hub, "reader") as reader:
        for name in ("a", "b"):
            alice.send(retained(encode_publish(f"plant/{name}", b"x", qos=1, packet_id=1)))
            alice.expect(PacketType.PUBACK)
        alice.ping()
        reader.send(*(subscribe_packet(f"plant/{name}", qos=1) for name in ("a", "b")))
        reader.expect(PacketType.SUBACK)
        first = reader.message()
        reader.acknowledge(PacketType.PUBACK, first.packet_id)
        reader.expect(PacketType.SUBACK)
        second = reader.message()
        reader.acknowledge(PacketType.PUBACK, second.packet_id)
        assert [first.topic, second.topic] == ["plant/a", "plant/b"]
        reader.ping()


def test_a_second_subscription_replaces_the_first(hub: Hub) -> None:
    """With its QoS, and there is still one copy of each message. [MQTT-3.8.4-3]"""
    with connected(hub, "reader") as watcher, connected(hub, "writer") as writer:
        for qos in (1, 0, 2, 0):
            assert watcher.subscribe("plant/#", qos=qos) == [qos]
        writer.publish("plant/line", b"first")
        assert (watcher.message().qos, watcher.subscribe("plant/#", qos=1)) == (0, [1])
        writer.publish("plant/line", b"second")
        message = watcher.message()
        assert (message.payload, message.qos) == (b"second", 1)
        watcher.acknowledge(PacketType.PUBACK, message.packet_id)
        watcher.ping()


def test_a_message_of_qos_2_is_taken_once(hub: Hub) -> None:
    """However often its packets are sent. [MQTT-4.3.3-2]"""
    topic = resume_topic("alone")
    sent = encode_publish(topic, resume(7), qos=2, packet_id=9)
    again = bytes((sent[0] | 8,)) + sent[1:]
    with connected(hub, "P/alone") as device, connected(hub, "reader") as watcher:
        watcher.subscribe(topic)
        device.subscribe(f"{topic}_reply")
        device.unsubscribe(f"{topic}_reply")
        for packet in (sent, again, again):
            device.send(packet)
            assert device.expect(PacketType.PUBREC).body == b"\x00\x09"
        assert values(hub) == [7]
        for _ in range(2):
            device.acknowledge(PacketType.PUBREL, 9)
            assert device.expect(PacketType.PUBCOMP).body == b"\x00\x09"
        # The packet id is free again: what comes under it is another message.
        device.send(encode_publish(topic, resume(8, time=2), qos=2, packet_id=9))
        device.expect(PacketType.PUBREC)
        device.acknowledge(PacketType.PUBREL, 9)
        device.expect(PacketType.PUBCOMP)
        assert [watcher.message().payload, watcher.message().payload] == [resume(7), resume(8, time=2)]
        watcher.ping()
    eventually(lambda: values(hub) == [7, 8])


def test_a_message_of_qos_2_of_an_operator_is_taken_once(hub: Hub) -> None:
    """The relay answers what is sent again, the broker the rest; PUBREL is always answered. [MQTT-4.3.3-2]"""
    topic = resume_topic("alone")
    sent = encode_publish(topic, resume(7), qos=2, packet_id=9)
    with connected(hub, "writer") as writer:
        for packet in (sent, bytes((sent[0] | 8,)) + sent[1:]):
            writer.send(packet)
            assert writer.expect(PacketType.PUBREC).body == b"\x00\x09"
        for _ in range(2):
            writer.acknowledge(PacketType.PUBREL, 9)
            assert writer.expect(PacketType.PUBCOMP).body == b"\x00\x09"
        denied = encode_publish(f"{topic}_reply", b"{}", qos=2, packet_id=9)
        for packet in (denied, bytes((denied[0] | 8,)) + denied[1:]):
            writer.send(packet)
            writer.expect(PacketType.PUBREC)
        writer.acknowledge(PacketType.PUBREL, 9)
        writer.expect(PacketType.PUBCOMP)
        writer.ping()
    eventually(lambda: values(hub) == [7])


def test_a_watcher_may_ask_for_qos_2(hub: Hub) -> None:
    """The broker then does its part of the exchange."""
    with connected(hub, "reader") as watcher, connected(hub, "writer") as writer:
        assert watcher.subscribe("plant/line", qos=2) == [2]
        writer.publish("plant/line", b"runs")
        message = watcher.message()
        assert (message.payload, message.qos) == (b"runs", 2)
        watcher.acknowledge(PacketType.PUBREC, message.packet_id)
        watcher.expect(PacketType.PUBREL)
        watcher.acknowledge(PacketType.PUBCOMP, message.packet_id)
        watcher.ping()


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


def test_the_will_of_an_operator_is_delivered(hub: Hub) -> None:
    """Where the connection ends without DISCONNECT."""
    with connected(hub, "reader") as watcher:
        watcher.subscribe("plant/#")
        with connected(hub, "writer", will=("plant/gone", b"bye")) as writer:
            writer.finish()
            message = watcher.message()
            assert (message.topic, message.payload) == ("plant/gone", b"bye")
        with connected(hub, "writer", will=("plant/gone", b"bye")) as writer:
            writer.send(b"\xe0\x00")
            assert writer.rest() == []
        watcher.ping()


def test_the_will_of_a_device_is_dropped(hub: Hub) -> None:
    """However it ends: nobody hears it, nothing is stored."""
    will = (resume_topic("alone"), resume(1))
    with connected(hub, "reader") as watcher:
        watcher.subscribe("#")
        with connected(hub, "P/alone", will=will, will_retain=True) as device:
            device.finish()
            assert device.rest() == []
        eventually(lambda: inside.online(hub) == 0)
        watcher.ping()
    assert values(hub) == []


def test_messages_of_operators_are_retained(hub: Hub) -> None:
    """For those who subscribe later, until an empty one clears them; a device that connects hears nothing."""
    with connected(hub, "alice") as alice, connected(hub, "reader") as reader:
        reader.subscribe("plant/#")
        alice.send(retained(encode_publish("plant/line", b"runs")))
        assert reader.message().payload == b"runs"
        with connected(hub, "reader") as later, connected(hub, "P/alone") as device:
            later.ping()
            device.ping()
            assert later.subscribe("plant/+", "sys/#") == [0, 0]
            message = later.message()
            assert (message.payload, message.retain) == (b"runs", True)
            later.ping()
            device.subscribe("/sys/P/alone/#")
            device.ping()
        alice.send(retained(encode_publish("plant/line", b"")))
        assert reader.message().payload == b""
        with connected(hub, "reader") as last:
            last.subscribe("plant/#")
            last.ping()


@pytest.mark.parametrize("who", ["P/alone", "writer"])
def test_uplinks_are_never_retained(hub: Hub, who: str) -> None:
    """Each new watcher, and the hub itself, would take them for new ones."""
    topic = resume_topic("alone")
    with connected(hub, who) as client:
        client.send(retained(encode_publish(topic, resume(1), qos=1, packet_id=1)))
        client.acknowledged(1)
        eventually(lambda: values(hub) == [1])
        with connected(hub, "reader") as watcher:
            watcher.subscribe("#")
            watcher.ping()
    with connected(hub, "writer", will=(topic, resume(2, time=2)), will_retain=True) as writer:
        writer.finish()
        assert writer.rest() == []
    eventually(lambda: values(hub) == [1, 2])
    assert dict(inside.broker(hub).retained_messages) == {}


@pytest.mark.parametrize("topic", ["alone", "other"], ids=["allowed", "denied"])
def test_qos_2_messages_without_pubrel_are_bounded(enos_hub: HubFactory, topic: str) -> None:
    """They are kept in memory until then."""
    hub = enos_hub(registry=REGISTRY, models=MODELS, settings={"limits.unacknowledged": 3})
    with connected(hub, "P/alone") as device:
        for number in range(3):
            device.send(encode_publish(resume_topic(topic), b"", qos=2, packet_id=1 + number))
            device.message()
            device.expect(PacketType.PUBREC)
        device.send(encode_publish(resume_topic(topic), b"", qos=2, packet_id=9))
        assert device.rest() == []
    assert len(hub.quarantine()) == 3
