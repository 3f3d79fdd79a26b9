"""Connections that come, go, meet each other and end."""

from __future__ import annotations

import logging
import socket
import struct
from typing import Any

import orjson
import pytest

from enos_ingest.endpoint.packets import PacketType, encode_ack, encode_publish
from enos_ingest.protocol.credentials import Credentials, make_credentials, sign
from enos_ingest.protocol.identity import Channel, DeviceId
from enos_ingest.testing.hub import Hub
from tests.endpoint import inside
from tests.endpoint.raw import DISCONNECT, PINGREQ, RawClient, connect_packet
from tests.endpoint.site import operator, resume, resume_topic
from tests.endpoint.waiting import eventually

MANY = 100


def device(key: str, timestamp: int = 1) -> Credentials:
    """A device's credentials; the client id differs with the timestamp."""
    return make_credentials(DeviceId("P", key), f"{key}-secret", timestamp)


def connected(hub: Hub, credentials: Credentials, client_id: str | None = None) -> RawClient:
    """A client that was let in."""
    client = RawClient(hub)
    assert client.connect(connect_packet(credentials, client_id=client_id)) == 0
    return client


def times(hub: Hub) -> list[int]:
    """The times of the points that are stored of one device."""
    return [stored.time for stored in hub.points("P/alone")]


def reports(qos: int) -> list[bytes]:
    """Many reports, each of another time."""
    topic = resume_topic("alone")
    return [encode_publish(topic, resume(1, time=number), qos=qos, packet_id=1 + number) for number in range(MANY)]


def login(sub_device: str) -> bytes:
    """A combine.login."""
    content = f"clientIdcdeviceKey{sub_device}productKeyPtimestamp1"
    params = {
        "productKey": "P",
        "deviceKey": sub_device,
        "clientId": "c",
        "timestamp": "1",
        "signMethod": "sha256",
        "sign": sign(f"{sub_device}-secret", content),
    }
    return orjson.dumps({"id": "1", "version": "1.0", "method": "combine.login", "params": params})


@pytest.mark.parametrize("timestamp", [1, 2], ids=["same client id", "another client id"])
def test_a_newer_connection_of_a_device_takes_over(hub: Hub, timestamp: int) -> None:
    """The older one is closed, the device stays online: who it is counts, not the client id. [MQTT-3.1.4-2]"""
    with connected(hub, device("alone")) as older, connected(hub, device("alone", timestamp)) as newer:
        assert older.rest() == []
        newer.ping()
        assert inside.online(hub) == 1
        with connected(hub, device("alone")) as newest:
            assert newer.rest() == []
            newest.publish(resume_topic("alone"), resume(1))
    assert times(hub) == [1]


def test_a_take_over_loses_no_message(hub: Hub) -> None:
    """What the older connection got acknowledged is stored."""
    with connected(hub, device("alone")) as older:
        older.send(*reports(qos=1))
        acknowledged = older.acknowledged(MANY // 2)
        with connected(hub, device("alone")):
            older.rest()
    assert acknowledged == list(range(1, 1 + MANY // 2))
    eventually(lambda: times(hub) == list(range(MANY)))


def test_a_client_id_is_nobody_elses(hub: Hub) -> None:
    """Another identity with the same one is another client; also where names run into client ids."""
    extra = [{"name": name, "password": "pw", "scopes": ["read"]} for name in ("a", "a#b", "Operator:a")]
    hub.apply({"operators": extra})
    eventually(lambda: "a#b" in hub.directory.operators)
    shared = "c|securemode=2,signmethod=sha256,timestamp=1|"

    def as_device(key: str) -> Credentials:
        content = f"clientIdcdeviceKey{key}productKeyPtimestamp1"
        return Credentials(shared, f"{key}&P", sign(f"{key}-secret", content))

    credentials: list[tuple[Credentials, str]] = [
        (as_device("alone"), shared),
        (as_device("other"), shared),
        (operator("alice"), shared),
        (operator("reader"), shared),
        (Credentials("", "a", "pw"), "b#c"),
        (Credentials("", "a#b", "pw"), "c"),
        (operator("writer"), ""),
        (operator("writer"), ""),
        (operator("writer"), "hub"),
    ]
    clients = [connected(hub, who, client_id) for who, client_id in credentials]
    for client in clients:
        client.ping()
        client.socket.close()


def test_channels_of_one_product_coexist(hub: Hub) -> None:
    """Each is answered what it asked; only the same client id takes over."""
    topic = "/sys/P/integration/measurepoint/post"
    params = [{"deviceKey": "alone", "measurepoints": {"n": 1}, "time": 1}]
    request = {"id": "1", "version": "1.0", "method": "integration.measurepoint.post", "params": params}
    credentials = [make_credentials(Channel("P"), "PSecret", timestamp) for timestamp in (1, 2)]
    with connected(hub, credentials[0]) as first, connected(hub, credentials[1]) as second:
        for client in (first, second):
            client.publish(topic, orjson.dumps(request))
            assert orjson.loads(client.message().payload)["code"] == 200
        for client in (first, second):
            client.ping()
        with connected(hub, credentials[1]) as third:
            assert second.rest() == []
            first.ping()
            third.ping()


def test_sub_devices_go_offline_with_the_connection_of_their_gateway(hub: Hub) -> None:
    """Also where a newer one takes over: SDKs log their sub-devices in again."""
    gateway, sub = DeviceId("P", "gw"), DeviceId("P", "sub")
    presence = inside.presence(hub)
    with connected(hub, device("gw", 1)) as first:
        first.publish("/ext/session/P/gw/combine/login", login("sub"))
        answer: dict[str, Any] = orjson.loads(first.message().payload)
        assert answer["code"] == 200
        assert presence.is_online_through(gateway, sub)
        with connected(hub, device("gw", 2)) as second:
            assert first.rest() == []
            assert not presence.is_online(sub)
            second.publish("/ext/session/P/gw/combine/login", login("sub"))
            assert presence.is_online_through(gateway, sub)
    eventually(lambda: inside.online(hub) == 0)
    assert not presence.is_online(sub)


def test_a_login_right_before_the_end_ends_with_it(hub: Hub) -> None:
    """It is judged while the gateway is there, and ends with it."""
    reports = [encode_publish(resume_topic("gw"), resume(1, time=number)) for number in range(60)]
    for _ in range(5):
        with connected(hub, device("gw")) as gateway:
            gateway.send(
                *reports,
                encode_publish("/ext/session/P/gw/combine/login", login("sub"), qos=1, packet_id=1),
                DISCONNECT,
            )
            gateway.rest()
        eventually(lambda: inside.online(hub) == 0)
        assert inside.presence(hub).sub_devices(DeviceId("P", "gw")) == frozenset()


@pytest.mark.parametrize("qos", [0, 1])
def test_messages_right_before_disconnect_are_stored(hub: Hub, qos: int) -> None:
    """All of them, sent in one piece with DISCONNECT."""
    with connected(hub, device("alone")) as client:
        client.send(*reports(qos), DISCONNECT)
        client.rest()
    eventually(lambda: len(times(hub)) == MANY)


@pytest.mark.parametrize("qos", [0, 1])
def test_messages_right_before_the_end_are_stored(hub: Hub, qos: int) -> None:
    """Also where a client ends without DISCONNECT."""
    with connected(hub, device("alone")) as client:
        client.send(*reports(qos))
        client.finish()
        client.rest()
    eventually(lambda: len(times(hub)) == MANY)


def test_acknowledged_messages_survive_a_reset(hub: Hub) -> None:
    """A connection that breaks takes nothing with it that was acknowledged."""
    client = connected(hub, device("alone"))
    client.send(*reports(qos=1))
    client.acknowledged(MANY)
    assert len(times(hub)) == MANY
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.socket.close()
    eventually(lambda: inside.online(hub) == 0)


def test_nothing_counts_after_disconnect(hub: Hub) -> None:
    """The client has said that it is done. [MQTT-3.14.4-2]"""
    topic = resume_topic("alone")
    with connected(hub, device("alone")) as client:
        client.send(encode_publish(topic, resume(1, time=1)), DISCONNECT, encode_publish(topic, resume(1, time=2)))
        client.rest()
    with connected(hub, device("alone")) as client:
        client.publish(topic, resume(1, time=3))
    eventually(lambda: 3 in times(hub))
    assert times(hub) == [1, 3]


def test_a_client_that_floods_is_closed_quietly(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    """Ending a connection while bytes still come in is no fault to report."""
    with connected(hub, device("alone")) as client, connected(hub, device("other")) as bystander:
        hub.apply({"devices": [{"product": "P", "key": "alone", "secret": "alone-secret", "enabled": False}]})
        topic, number = resume_topic("alone"), 0
        with pytest.raises(OSError, match=r"Broken pipe|reset|aborted"):  # noqa: PT012 - until the hub ends it
            while True:
                number += 1
                client.send(*(encode_publish(topic, resume(number)) for _ in range(50)))
        bystander.ping()
    eventually(lambda: inside.online(hub) == 0)
    faults = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert faults == []


def test_a_packet_id_that_is_released_early_acknowledges_nothing_that_follows(hub: Hub) -> None:
    """PUBREL before PUBREC frees the id; the PUBREC of what comes under it next is its own. [MQTT-4.3.3-2]"""
    topic = resume_topic("alone")
    with connected(hub, device("alone")) as client:
        client.unsubscribe(f"{topic}_reply")
        with inside.locked(hub):
            # All at once: before the hub finds out that it cannot commit, and reads no more.
            client.send(
                encode_publish(topic, resume(1, time=1), qos=2, packet_id=9),
                encode_ack(PacketType.PUBREL, 9),
                encode_publish(topic, resume(2, time=2), qos=2, packet_id=9),
                PINGREQ,
            )
            client.expect(PacketType.PUBCOMP)
            client.expect(PacketType.PINGRESP)
        client.expect(PacketType.PUBREC)
        assert times(hub) == [1, 2]
        client.ping()
