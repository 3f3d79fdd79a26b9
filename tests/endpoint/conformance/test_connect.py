"""CONNECT, CONNACK, DISCONNECT and keep-alive of a device, statement by statement."""

from __future__ import annotations

import pytest

from enos_ingest.endpoint.packets import PacketType, encode_publish
from enos_ingest.testing.hub import Hub
from tests.endpoint.conformance.device import DEVICE, TOPIC, connect, connected
from tests.endpoint.raw import DISCONNECT, PINGREQ, RawClient, connect_packet, subscribe_packet
from tests.endpoint.site import operator, resume

ACCEPTED = (0x20, b"\x00\x00")
"""CONNACK: no session present, code 0."""


def connack(hub: Hub, sent: bytes) -> tuple[int, bytes]:
    """The first packet that the hub sends."""
    with RawClient(hub) as client:
        client.send(sent)
        return client.expect(PacketType.CONNACK)


def test_connack_is_first(hub: Hub) -> None:
    """[MQTT-3.2.0-1], [MQTT-3.1.4-4]: also where the client did not wait for it [MQTT-3.1.4-5]."""
    with RawClient(hub) as client:
        client.send(connect(hub), PINGREQ, subscribe_packet(f"{TOPIC}_reply"))
        kinds = [client.receive() for _ in range(3)]
        assert [packet and packet.kind for packet in kinds] == [
            PacketType.CONNACK, PacketType.PINGRESP, PacketType.SUBACK,
        ]  # fmt: skip


def test_a_clean_session_is_not_present(hub: Hub) -> None:
    """[MQTT-3.2.2-1], [MQTT-3.1.4-3]."""
    assert connack(hub, connect(hub)) == ACCEPTED


def test_a_session_that_is_not_clean_is_not_present_either(hub: Hub) -> None:
    """As none is stored: [MQTT-3.2.2-3]; at the second time too."""
    for _ in range(2):
        assert connack(hub, connect(hub, clean_session=False)) == ACCEPTED


@pytest.mark.parametrize("clean_session", [True, False])
def test_a_session_starts_anew(hub: Hub, clean_session: bool) -> None:
    """[MQTT-3.1.2-6]: neither what was unsubscribed nor the ids of QoS 2 are those of an earlier connection."""
    publish = encode_publish(TOPIC, resume(1), qos=2, packet_id=7)
    for _ in range(2):
        with RawClient(hub) as client:
            assert client.connect(connect(hub, clean_session=clean_session)) == 0
            client.send(publish)
            assert client.message().topic == f"{TOPIC}_reply"  # taken as a new message, which is answered
            client.expect(PacketType.PUBREC)
            client.unsubscribe(f"{TOPIC}_reply")


@pytest.mark.parametrize(
    "head",
    [b"\x00\x06MQIsdp\x03", b"\x00\x04MQTT\x03", b"\x00\x04MQTT\x05", b"\x00\x04MQTT\x84", b"\x00\x04mqtt\x04"],
    ids=["3.1", "level 3", "level 5", "level 132", "another protocol"],
)
def test_another_version_is_answered_with_code_1(hub: Hub, head: bytes) -> None:
    """And no more of it is read: [MQTT-3.1.2-2], [MQTT-3.1.2-1], [MQTT-3.2.2-5], [MQTT-3.2.2-4]."""
    body = head + b"\x02\x00\x3c\x00\x00\x01a"
    with RawClient(hub) as client:
        client.send(bytes((0x10, len(body))) + body)
        assert client.rest() == [(0x20, b"\x00\x01")]


def test_no_client_id_and_no_clean_session_is_answered_with_code_2(hub: Hub) -> None:
    """[MQTT-3.1.3-7], [MQTT-3.1.3-8]."""
    with RawClient(hub) as client:
        client.send(connect(hub, client_id="", clean_session=False))
        assert client.rest() == [(0x20, b"\x00\x02")]


def test_a_client_id_that_is_no_device_s_is_answered_with_code_2(hub: Hub) -> None:
    """[MQTT-3.1.3-9], [MQTT-3.2.2-4], [MQTT-3.2.2-5]."""
    with RawClient(hub) as client:
        client.send(connect(hub, client_id="plain"))
        assert client.rest() == [(0x20, b"\x00\x02")]


@pytest.mark.parametrize("client_id", ["a", "0123456789ABCDEFGHIJKLM", "nopqrstuvwxyzabcdefghij"])
def test_an_operator_may_have_any_plain_client_id(hub: Hub, client_id: str) -> None:
    """[MQTT-3.1.3-5]; devices sign theirs."""
    assert connack(hub, connect_packet(operator("reader"), client_id=client_id)) == ACCEPTED


def test_an_operator_is_given_a_client_id(hub: Hub) -> None:
    """[MQTT-3.1.3-6]: two without one are two."""
    with RawClient(hub) as first, RawClient(hub) as second:
        for client in (first, second):
            assert client.connect(connect_packet(operator("reader"), client_id="")) == 0
        first.ping()
        second.ping()


def test_a_device_is_connected_once(hub: Hub) -> None:
    """[MQTT-3.1.4-2]: known by its keys, which its client id is signed with [MQTT-3.1.3-2]."""
    with connected(hub) as older, connected(hub) as newer:
        assert older.rest() == []
        newer.ping()


def test_nothing_behind_a_refused_connect_is_processed(hub: Hub) -> None:
    """[MQTT-3.1.4-5]."""
    sent = connect(hub)
    wrong = sent[:-1] + bytes((sent[-1] ^ 1,))
    with RawClient(hub) as client:
        client.send(wrong, encode_publish(TOPIC, resume(1, time=9_999)), PINGREQ)
        assert client.rest() == [(0x20, b"\x00\x04")]
    with connected(hub) as client:
        client.publish(TOPIC, resume(1, time=9_998))  # its commit comes behind whatever came before
    times = [point.time for point in hub.points(DEVICE)]
    assert (9_998 in times, 9_999 in times) == (True, False)


def test_disconnect_closes_the_connection(hub: Hub) -> None:
    """[MQTT-3.14.4-1], [MQTT-3.14.4-2]: what follows is not answered."""
    with connected(hub) as client:
        client.send(DISCONNECT, PINGREQ)
        assert client.rest() == []


def test_a_will_is_not_published(hub: Hub) -> None:
    """Not after DISCONNECT [MQTT-3.14.4-3], [MQTT-3.1.2-10], nor at any end: devices have none here [MQTT-3.1.2-12]."""
    with RawClient(hub) as watcher:
        assert watcher.connect(connect_packet(operator("reader"))) == 0
        assert watcher.subscribe(TOPIC) == [0]
        for end in (DISCONNECT, b"\xff"):
            with RawClient(hub) as client:
                assert client.connect(connect_packet(hub.credentials(DEVICE), will=(TOPIC, resume(1)))) == 0
                client.send(end)
                assert client.rest() == []
        watcher.ping()


def test_a_silent_client_is_disconnected(hub: Hub) -> None:
    """[MQTT-3.1.2-24]."""
    with RawClient(hub) as client:
        assert client.connect(connect(hub, keep_alive=1)) == 0
        assert client.rest() == []


def test_each_pingreq_is_answered(hub: Hub) -> None:
    """[MQTT-3.12.4-1]."""
    with connected(hub) as client:
        client.send(PINGREQ * 3)
        for _ in range(3):
            assert client.expect(PacketType.PINGRESP) == (0xD0, b"")
        client.ping()
