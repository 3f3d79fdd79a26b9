"""SUBSCRIBE and UNSUBSCRIBE of a device, statement by statement."""

from __future__ import annotations

import pytest

from enos_ingest.endpoint.packets import PacketType, encode_publish
from enos_ingest.testing.hub import Hub
from tests.endpoint.conformance.device import REPLY_TOPIC, TOPIC, connected
from tests.endpoint.raw import RawClient, subscribe_packet, unsubscribe_packet
from tests.endpoint.site import resume

OTHERS = "/sys/P/other/#"


def reply_qos(client: RawClient, *, asked: int = 1) -> int | None:
    """The QoS of the reply to a request; None where none comes."""
    client.send(encode_publish(TOPIC, resume(1), qos=asked, packet_id=77))
    found = None
    while (packet := client.receive()) is not None and packet.kind is PacketType.PUBLISH:
        assert packet.publish.topic == REPLY_TOPIC
        assert found is None
        found = packet.publish.qos
    assert packet is not None
    assert packet.kind is PacketType.PUBACK
    return found


@pytest.mark.parametrize("packet_id", [1, 513, 65_535])
def test_subscribe_is_answered_with_its_packet_id(hub: Hub, packet_id: int) -> None:
    """[MQTT-3.8.4-1], [MQTT-3.8.4-2], [MQTT-2.3.1-7]."""
    with connected(hub) as client:
        client.send(subscribe_packet(REPLY_TOPIC, packet_id=packet_id))
        assert client.expect(PacketType.SUBACK) == (0x90, packet_id.to_bytes(2) + b"\x00")


def test_each_filter_has_its_code_in_order(hub: Hub) -> None:
    """One SUBACK for all: [MQTT-3.8.4-4], [MQTT-3.8.4-5], [MQTT-3.9.3-1], [MQTT-3.9.3-2]."""
    with connected(hub) as client:
        assert client.subscribe(REPLY_TOPIC, OTHERS, "#", "/sys/+/+/#", "a/b", qos=1) == [1, 0x80, 0x80, 1, 0x80]
        client.ping()


@pytest.mark.parametrize(("asked", "granted"), [(0, 0), (1, 1), (2, 1)])
def test_the_granted_qos_is_kept_to(hub: Hub, asked: int, granted: int) -> None:
    """The lower one of the request's and of what was granted: [MQTT-3.8.4-6]."""
    with connected(hub) as client:
        assert client.subscribe(REPLY_TOPIC, qos=asked) == [granted]
        assert reply_qos(client) == granted


def test_filters_that_overlap_give_the_higher_qos_once(hub: Hub) -> None:
    """[MQTT-3.3.5-1]."""
    with connected(hub) as client:
        assert client.subscribe("/sys/P/alone/#", qos=0) == [0]
        assert client.subscribe(REPLY_TOPIC, qos=1) == [1]
        assert reply_qos(client) == 1
        client.ping()


def test_an_equal_filter_replaces_the_former(hub: Hub) -> None:
    """[MQTT-3.8.4-3]."""
    with connected(hub) as client:
        for qos in (1, 0, 1):
            assert client.subscribe(REPLY_TOPIC, qos=qos) == [qos]
            assert reply_qos(client) == qos


@pytest.mark.parametrize("filters", [[REPLY_TOPIC], ["/sys/P/alone/#", "never/held"], ["never/held"]])
def test_unsubscribe_is_answered_once_with_its_packet_id(hub: Hub, filters: list[str]) -> None:
    """Also where nothing was held: [MQTT-3.10.4-4], [MQTT-3.10.4-5], [MQTT-3.10.4-6], [MQTT-2.3.1-7]."""
    with connected(hub) as client:
        client.subscribe(REPLY_TOPIC)
        client.send(unsubscribe_packet(*filters, packet_id=513))
        assert client.expect(PacketType.UNSUBACK) == (0xB0, b"\x02\x01")
        client.ping()


def test_unsubscribe_ends_what_is_equal_byte_for_byte(hub: Hub) -> None:
    """And nothing else: [MQTT-3.10.4-1], [MQTT-3.10.4-2]."""
    with connected(hub) as client:
        client.subscribe("/sys/P/alone/#", qos=1)
        client.unsubscribe("/sys/P/alone/+", "/sys/P/alone/thing/#")
        assert reply_qos(client) == 1
        client.unsubscribe("/sys/P/alone/#")
        assert reply_qos(client) is None


def test_what_was_begun_may_be_acknowledged_after_unsubscribe(hub: Hub) -> None:
    """The exchange of a message that is out is completed: [MQTT-3.10.4-3]."""
    with connected(hub) as client:
        client.send(encode_publish(TOPIC, resume(1), qos=1, packet_id=1))
        message = client.message()
        client.expect(PacketType.PUBACK)
        client.unsubscribe(REPLY_TOPIC)
        client.acknowledge(PacketType.PUBACK, message.packet_id)
        client.ping()


@pytest.mark.parametrize("topic_filter", ["+/sys/P/alone/x", "#", "+", "+/+/+/+/#"])
def test_a_filter_that_starts_with_a_wildcard_is_no_device_s(hub: Hub, topic_filter: str) -> None:
    """So it matches no topic of the server's own either: [MQTT-4.7.2-1], [MQTT-3.8.3-2]."""
    with connected(hub) as client:
        assert client.subscribe(topic_filter) == [0x80]
        client.ping()
