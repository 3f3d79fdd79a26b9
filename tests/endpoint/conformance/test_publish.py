"""PUBLISH and what acknowledges it, between a device and the hub, statement by statement."""

from __future__ import annotations

import orjson
import pytest

from enos_ingest.endpoint.packets import PacketType, encode_ack, encode_publish
from enos_ingest.testing.hub import Hub
from tests.endpoint.conformance.device import ANSWER_TOPIC, DEVICE, REPLY_TOPIC, TOPIC, connected
from tests.endpoint.raw import RawClient, connect_packet
from tests.endpoint.site import operator, resume


def again(packet: bytes) -> bytes:
    """The same PUBLISH with DUP."""
    return bytes((packet[0] | 8,)) + packet[1:]


def retained(packet: bytes) -> bytes:
    """The same PUBLISH with RETAIN."""
    return bytes((packet[0] | 1,)) + packet[1:]


def watcher(hub: Hub, *filters: str) -> RawClient:
    """An operator who sees what the device sends."""
    client = RawClient(hub)
    assert client.connect(connect_packet(operator("reader"))) == 0
    client.subscribe(*filters, qos=1)
    return client


@pytest.mark.parametrize(("qos", "kind"), [(0, None), (1, PacketType.PUBACK), (2, PacketType.PUBREC)])
def test_a_publish_is_acknowledged_as_its_qos_says(hub: Hub, qos: int, kind: PacketType | None) -> None:
    """With its packet id: [MQTT-3.3.4-1], [MQTT-2.3.1-6], [MQTT-4.3.2-2], [MQTT-4.3.3-2], [MQTT-4.3.1-1]."""
    with connected(hub) as client:
        client.send(encode_publish(ANSWER_TOPIC, b"{}", qos=qos, packet_id=513))
        if kind is not None:
            assert client.expect(kind).body == b"\x02\x01"
        client.ping()


def test_what_is_acknowledged_is_stored(hub: Hub) -> None:
    """The hub has accepted ownership: [MQTT-4.3.2-2], [MQTT-4.3.3-2]."""
    with connected(hub) as client:
        client.send(encode_publish(TOPIC, resume(1, time=501), qos=1, packet_id=1))
        client.message()
        client.expect(PacketType.PUBACK)
        assert 501 in [point.time for point in hub.points(DEVICE)]
        client.send(encode_publish(TOPIC, resume(1, time=502), qos=2, packet_id=1))
        client.message()
        client.expect(PacketType.PUBREC)
        assert 502 in [point.time for point in hub.points(DEVICE)]


def test_after_puback_a_packet_id_is_free(hub: Hub) -> None:
    """What comes under it is a new message, whatever its DUP flag says: [MQTT-4.3.2-2], [MQTT-2.3.1-3]."""
    first, second = (encode_publish(TOPIC, resume(1, identifier=name), qos=1, packet_id=3) for name in ("1", "2"))
    with connected(hub) as client:
        for packet, identifier in ((first, "1"), (again(second), "2"), (again(second), "2")):
            client.send(packet)
            assert orjson.loads(client.message().payload)["id"] == identifier
            assert client.expect(PacketType.PUBACK).body == b"\x00\x03"


def test_qos_2_is_taken_once(hub: Hub) -> None:
    """Until PUBREL, acknowledged again and nothing more; after PUBCOMP the id is free: [MQTT-4.3.3-2]."""
    sent = encode_publish(TOPIC, resume(1), qos=2, packet_id=9)
    with connected(hub) as client, watcher(hub, TOPIC) as seen:
        client.send(sent)
        client.message()
        assert client.expect(PacketType.PUBREC).body == b"\x00\x09"
        for packet in (again(sent), sent):
            client.send(packet)
            assert client.expect(PacketType.PUBREC).body == b"\x00\x09"
        client.send(encode_ack(PacketType.PUBREL, 9))
        assert client.expect(PacketType.PUBCOMP).body == b"\x00\x09"
        seen.message()
        seen.ping()
        client.send(sent)
        assert client.message().topic == REPLY_TOPIC
        assert client.expect(PacketType.PUBREC).body == b"\x00\x09"
        seen.message()


def test_pubrel_is_answered_in_any_case(hub: Hub) -> None:
    """Also where nothing is known of its message: [MQTT-4.3.3-2]."""
    with connected(hub) as client:
        for packet_id in (7, 7, 65_535):
            client.send(encode_ack(PacketType.PUBREL, packet_id))
            assert client.expect(PacketType.PUBCOMP).body == packet_id.to_bytes(2)


@pytest.mark.parametrize(("qos", "kind"), [(1, PacketType.PUBACK), (2, PacketType.PUBREC)])
def test_acknowledgements_come_in_the_order_of_receipt(hub: Hub, qos: int, kind: PacketType) -> None:
    """[MQTT-4.6.0-2], [MQTT-4.6.0-3], whatever becomes of the messages, on all topics [MQTT-4.6.0-5]."""
    bodies = [resume("wrong" if number % 3 else 1, time=number) for number in range(50)]
    topics = [ANSWER_TOPIC if number % 7 == 0 else TOPIC for number in range(50)]
    with connected(hub) as client:
        client.unsubscribe(REPLY_TOPIC)
        client.send(
            *(
                encode_publish(topic, body, qos=qos, packet_id=1 + number)
                for number, (topic, body) in enumerate(zip(topics, bodies, strict=True))
            )
        )
        assert [client.expect(kind).body for _ in bodies] == [(1 + number).to_bytes(2) for number in range(50)]


def test_pubcomp_comes_in_the_order_of_pubrel(hub: Hub) -> None:
    """The part of a receiver in [MQTT-4.6.0-4]."""
    with connected(hub) as client:
        client.send(*(encode_ack(PacketType.PUBREL, packet_id) for packet_id in (3, 1, 2)))
        assert [client.expect(PacketType.PUBCOMP).body[1] for _ in range(3)] == [3, 1, 2]


def test_replies_come_in_the_order_of_their_requests(hub: Hub) -> None:
    """[MQTT-4.6.0-6]."""
    bodies = [resume("wrong" if number % 3 else 1, identifier=str(number)) for number in range(50)]
    with connected(hub) as client:
        client.send(*(encode_publish(TOPIC, body) for body in bodies))
        found = [orjson.loads(client.message().payload)["id"] for _ in bodies]
        assert found == [str(number) for number in range(50)]


def test_a_message_of_the_hub_is_new(hub: Hub) -> None:
    """DUP 0 [MQTT-3.3.1-3], RETAIN 0 [MQTT-3.3.1-9], an unused packet id [MQTT-4.3.2-1], [MQTT-2.3.1-4]."""
    with connected(hub) as client:
        used = []
        for number in range(5):
            client.send(retained(again(encode_publish(TOPIC, resume(1), qos=1, packet_id=1 + number))))
            message = client.message()
            client.expect(PacketType.PUBACK)
            assert (message.topic, message.qos, message.dup, message.retain) == (REPLY_TOPIC, 1, False, False)
            used.append(message.packet_id)
        assert len(set(used)) == 5
        for packet_id in used:
            client.acknowledge(PacketType.PUBACK, packet_id)
        client.ping()  # nothing is sent twice: [MQTT-3.3.1-1] has no case here


def test_a_message_of_qos_0_has_no_packet_id(hub: Hub) -> None:
    """And no DUP: [MQTT-2.3.1-5], [MQTT-4.3.1-1]."""
    with connected(hub) as client:
        client.send(encode_publish(TOPIC, resume(1, identifier="5")))
        packet = client.expect(PacketType.PUBLISH)
        assert packet.first_byte == 0x30
        assert packet.body.endswith(packet.publish.payload)
        assert orjson.loads(packet.publish.payload)["id"] == "5"


def test_what_is_not_allowed_is_acknowledged_all_the_same(hub: Hub) -> None:
    """[MQTT-3.3.5-2]."""
    with connected(hub) as client:
        for qos, kind in ((1, PacketType.PUBACK), (2, PacketType.PUBREC)):
            client.send(encode_publish("plant/line", b"{}", qos=qos, packet_id=5))
            assert client.expect(kind).body == b"\x00\x05"
        client.ping()


def test_a_topic_is_taken_as_it_is(hub: Hub) -> None:
    """Without normalisation: [MQTT-4.7.3-4], and with its byte order mark: [MQTT-1.5.3-3]."""
    names = ["/sys/P/alone/\ufeffx", "/sys/P/alone/é", "/sys/P/alone/e\u0301", "/sys/P/alone//x", "/sys/P/alone/X"]
    with connected(hub) as client, watcher(hub, *names[1:2]) as seen:
        for name in names:
            client.send(encode_publish(name, b'{"id":"1"}', qos=1, packet_id=1))
            assert client.message().topic == f"{name}_reply"
            client.expect(PacketType.PUBACK)
        assert seen.message().topic == names[1]
        seen.ping()


def test_the_longest_topic_is_read(hub: Hub) -> None:
    """[MQTT-4.7.3-3]: as long as its reply's has room."""
    longest = "t" * (65_535 - len("_reply"))
    with connected(hub) as client:
        client.publish(longest, b"{}")
        client.ping()
