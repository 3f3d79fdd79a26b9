"""What becomes of a PUBLISH: who gets it, what is answered, how often it is taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from enos_ingest.endpoint.packets import PacketType, encode_publish
from enos_ingest.testing.hub import Hub
from tests.endpoint.publishing import connected, reply, retained, values
from tests.endpoint.raw import RawClient, subscribe_packet, unsubscribe_packet
from tests.endpoint.site import MODELS, REGISTRY, resume, resume_topic
from tests.endpoint.waiting import eventually

if TYPE_CHECKING:
    from enos_ingest.testing import HubFactory


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
