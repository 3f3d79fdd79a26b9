"""What one client may take: bytes, seconds, packets, subscriptions, connections."""

from __future__ import annotations

import time
import urllib.request
from typing import TYPE_CHECKING

import orjson
import pytest

from enos_ingest.endpoint.packets import PacketType, encode_publish
from enos_ingest.protocol.credentials import Credentials
from tests.endpoint import inside
from tests.endpoint.raw import DISCONNECT, PINGREQ, RawClient, connect_packet, subscribe_packet, unsubscribe_packet
from tests.endpoint.site import MODELS, REGISTRY, metric, operator, resume, resume_topic
from tests.endpoint.waiting import eventually

if TYPE_CHECKING:
    from enos_ingest.testing import HubFactory
    from enos_ingest.testing.hub import Hub


def start(enos_hub: HubFactory, **limits: object) -> Hub:
    """A hub with some limits of its own."""
    settings = {f"limits.{name}": str(value) for name, value in limits.items()}
    return enos_hub(registry=REGISTRY, models=MODELS, settings=settings)


def connected(hub: Hub, device: str = "P/alone", keep_alive: int = 0) -> RawClient:
    """A client that was let in."""
    client = RawClient(hub)
    assert client.connect(connect_packet(hub.credentials(device), keep_alive=keep_alive)) == 0
    return client


def test_a_connect_of_too_many_bytes_is_not_read(enos_hub: HubFactory) -> None:
    """The connection is closed at the header: nobody who is not known may fill the memory."""
    hub = start(enos_hub, connect_bytes=300)
    fits = Credentials("x" * 200, "alice", "alice-password")
    with RawClient(hub) as client:
        assert client.connect(connect_packet(fits)) == 0
    with RawClient(hub) as client:
        client.send(connect_packet(Credentials("x" * 300, "alice", "alice-password"))[:3])
        assert client.rest() == []
    assert metric(hub, "enos_ingest_connections_refused_total") == 1


@pytest.mark.parametrize(
    "sent", [b"", b"\x10", connect_packet(operator("alice"))[:-1]], ids=["nothing", "type", "most"]
)
def test_a_connect_that_does_not_come_is_not_waited_for(enos_hub: HubFactory, sent: bytes) -> None:
    """A stranger cannot hold a connection open."""
    hub = start(enos_hub, connect_seconds=0.2)
    with RawClient(hub) as client:
        client.send(sent)
        assert client.rest() == []
    assert metric(hub, "enos_ingest_connections_refused_total") == 1


def test_the_time_for_connect_ends_with_it(enos_hub: HubFactory) -> None:
    """Who is connected may be silent, where it asked for no keep-alive."""
    hub = start(enos_hub, connect_seconds=2)
    with connected(hub) as client, RawClient(hub) as stranger:
        assert stranger.rest() == []
        client.ping()


def test_a_silent_client_is_closed_after_its_keep_alive(enos_hub: HubFactory) -> None:
    """One and a half times as long, not sooner; any packet starts the time anew. [MQTT-3.1.2-24]"""
    hub = start(enos_hub)
    with connected(hub, keep_alive=1) as client:
        started = time.monotonic()
        client.ping()
        assert client.rest() == []
        assert time.monotonic() - started > 1.4
    eventually(lambda: inside.online(hub) == 0)


def shows_life(client: RawClient, packet: bytes, piece: int, seconds: float) -> bool:
    """Send a packet over a slow link; whether the hub bears with it to the end."""
    for begin in range(0, len(packet), piece):
        if client.ends_within(seconds):
            return False
        client.send(packet[begin : begin + piece])
    return True


@pytest.mark.parametrize("who", ["P/alone", "alice"])
@pytest.mark.parametrize("size", [3000, 60_000])
def test_a_long_upload_over_a_slow_link_is_life(enos_hub: HubFactory, who: str, size: int) -> None:
    """It takes longer than keep-alive allows for a packet, and none comes meanwhile."""
    hub = start(enos_hub)
    packet = encode_publish(resume_topic("alone"), resume("x" * size, name="text"), qos=1, packet_id=1)
    with RawClient(hub) as client:
        credentials = hub.credentials(who) if "/" in who else operator(who)
        assert client.connect(connect_packet(credentials, keep_alive=1)) == 0
        assert shows_life(client, packet, len(packet) // 8, 0.3)
        assert client.acknowledged(1) == [1]
    eventually(lambda: len(hub.points("P/alone")) == 1)


@pytest.mark.parametrize(("who", "reason"), [("P/alone", "unfinished"), ("alice", "keep_alive")])
def test_a_trickle_is_no_life(enos_hub: HubFactory, who: str, reason: str) -> None:
    """A packet has as long as keep-alive, and as its bytes take on the slowest link that there is time for."""
    hub = start(enos_hub)
    packet = encode_publish(resume_topic("alone"), resume("x" * 500, name="text"), qos=1, packet_id=1)
    with RawClient(hub) as client:
        credentials = hub.credentials(who) if "/" in who else operator(who)
        started = time.monotonic()
        assert client.connect(connect_packet(credentials, keep_alive=1)) == 0
        # As slow as this the whole packet would take a minute.
        assert not shows_life(client, packet, 1, 0.1)
        assert time.monotonic() - started > 1.4
    assert metric(hub, "enos_ingest_connections_closed_total") == 1
    assert closed(hub, reason) == 1


def closed(hub: Hub, reason: str) -> float:
    """How many connections ended for a reason."""
    with urllib.request.urlopen(f"{hub.http_url}/metrics") as response:  # noqa: S310 - our own hub
        lines = response.read().decode().splitlines()
    (line,) = (line for line in lines if line.startswith(f'enos_ingest_connections_closed_total{{reason="{reason}"}}'))
    return float(line.rpartition(" ")[2])


def test_a_long_packet_is_not_waited_for_without_end(enos_hub: HubFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the client has asked for no keep-alive: it holds room that others wait for."""
    for module in ("connection", "packet_stream"):
        monkeypatch.setattr(f"enos_ingest.endpoint.{module}.PATIENCE_SECONDS", 1.0)
    hub = start(enos_hub)
    packet = encode_publish(resume_topic("alone"), resume("x" * 60_000, name="text"))
    for credentials in (hub.credentials("P/alone"), operator("alice")):
        with RawClient(hub) as client:
            assert client.connect(connect_packet(credentials)) == 0
            client.send(packet)
            client.ping()
            client.send(packet[:-1])
            client.rest()
    assert inside.listener(hub).incoming.held == 0


def test_a_packet_that_never_ends_does_not_keep_a_client_alive(enos_hub: HubFactory) -> None:
    """Only a whole packet counts."""
    hub = start(enos_hub)
    with connected(hub, keep_alive=1) as client:
        client.send(encode_publish(resume_topic("alone"), resume(1))[:-1])
        assert client.rest() == []
    assert hub.points("P/alone") == []


def test_a_packet_over_the_limit_closes_the_connection(enos_hub: HubFactory) -> None:
    """At its header; one of just the limit is read."""
    hub = start(enos_hub, packet_bytes=2048, message_bytes=2048)
    topic = resume_topic("alone")
    room = 2048 - len(encode_publish(topic, b"x" * 1000, qos=1, packet_id=1)) + 1000
    payload = resume("", name="text").replace(b'""', b'"' + b"x" * (room - len(resume("", name="text"))) + b'"')
    with connected(hub) as client:
        client.publish(topic, payload)
        client.message()
        client.send(encode_publish(topic, payload + b" ", qos=1, packet_id=2)[:10])
        assert client.rest() == []
    assert len(hub.points("P/alone")) == 1


@pytest.mark.parametrize("piece", [1, 700, 10**6], ids=["byte by byte", "in pieces", "at once"])
def test_a_payload_over_the_limit_is_skipped_and_answered(enos_hub: HubFactory, piece: int) -> None:
    """1206 with the id, as far as it stands at the beginning; the connection goes on."""
    hub = start(enos_hub, message_bytes=2000, packet_bytes=10_000)
    topic = resume_topic("alone")
    long = resume("x" * 5000, name="text", identifier="long")
    packet = encode_publish(topic, long, qos=1, packet_id=5)
    with connected(hub) as client:
        for begin in range(0, len(packet), piece):
            client.send(packet[begin : begin + piece])
        answered = orjson.loads(client.message().payload)
        assert (answered["id"], answered["code"]) == ("long", 1206)
        assert answered["message"] == f"payload of {len(long)} bytes is over the limit of 2000"
        assert client.expect(PacketType.PUBACK).body == b"\x00\x05"
        client.publish(topic, resume(1))
    (entry,) = hub.quarantine()
    assert (entry.code, entry.size) == (1206, len(long))
    assert long.startswith(entry.payload)
    assert metric(hub, "enos_ingest_oversized_total") == 1


BROKEN = {
    "second CONNECT": connect_packet(operator("alice")),
    "CONNACK": b"\x20\x02\x00\x00",
    "SUBACK": b"\x90\x03\x00\x01\x00",
    "reserved type": b"\xf0\x00",
    "QoS 3": b"\x36\x05\x00\x01a\x00\x01",
    "DUP with QoS 0": b"\x38\x03\x00\x01a",
    "packet id 0": b"\x32\x05\x00\x01a\x00\x00",
    "wildcard #": encode_publish("/sys/P/alone/#", b"x"),
    "wildcard +": encode_publish("/sys/P/+/thing/measurepoint/resume", b"x"),
    "empty topic": encode_publish("", b"x"),
    "$SYS": encode_publish("$SYS/broker/version", b"x"),
    "topic with NUL": encode_publish("a\0b", b"x"),
    "topic that is no UTF-8": b"\x30\x04\x00\x02\xff\xff",
    "SUBSCRIBE without filter": b"\x82\x02\x00\x01",
    "SUBSCRIBE flags": b"\x80\x06\x00\x01\x00\x01a\x00",
    "UNSUBSCRIBE without filter": b"\xa2\x02\x00\x01",
    "short PUBACK": b"\x40\x01\x00",
    "PUBREL flags": b"\x60\x02\x00\x01",
    "endless length": b"\x30\xff\xff\xff\xff\x01",
}


@pytest.mark.parametrize("who", ["device", "operator"])
def test_a_broken_packet_closes_its_connection_alone(enos_hub: HubFactory, who: str) -> None:
    """What came before it is kept, what comes after it is not read, others go on. [MQTT-4.8.0-1]"""
    hub = start(enos_hub)
    credentials = hub.credentials("P/alone") if who == "device" else operator("alice")
    topic = resume_topic("alone")
    with connected(hub, "P/other") as bystander:
        for number, (case, broken) in enumerate(BROKEN.items()):
            with RawClient(hub) as client:
                assert client.connect(connect_packet(credentials)) == 0, case
                before = encode_publish(topic, resume(number, time=number))
                after = encode_publish(topic, resume(number, time=1000 + number))
                client.send(before, broken, after)
                client.rest()
        bystander.ping()
    eventually(lambda: len(hub.points("P/alone")) == len(BROKEN))
    assert [stored.time for stored in hub.points("P/alone")] == list(range(len(BROKEN)))


def test_an_unfinished_packet_is_no_packet(enos_hub: HubFactory) -> None:
    """What came before it is kept."""
    hub = start(enos_hub)
    with connected(hub) as client:
        whole = encode_publish(resume_topic("alone"), resume(1))
        client.send(whole, whole[:-1])
        client.finish()
        assert client.rest() == []
    eventually(lambda: len(hub.points("P/alone")) == 1)


def test_subscriptions_over_the_limit_are_refused(enos_hub: HubFactory) -> None:
    """Each with 0x80; one that is given up makes room, one that is held already takes none."""
    hub = start(enos_hub, subscriptions=3)
    with connected(hub) as client:
        filters = [f"/sys/P/alone/thing/service/{number}" for number in range(5)]
        assert client.subscribe(*filters) == [0, 0, 0, 0x80, 0x80]
        assert client.subscribe(filters[0], filters[4], qos=1) == [1, 0x80]
        client.unsubscribe(filters[1], filters[4])
        assert client.subscribe(filters[4], filters[3]) == [0, 0x80]
        assert client.subscribe("#", "/sys/P/other/#") == [0x80, 0x80]
    with connected(hub) as client:
        assert client.subscribe(*filters[2:]) == [0, 0, 0]


def test_a_packet_with_more_filters_than_may_be_held_closes(enos_hub: HubFactory) -> None:
    """Of subscriptions as of their ends: each would be looked at."""
    hub = start(enos_hub, subscriptions=3)
    filters = [f"/{number}" for number in range(1001)]
    for packet in (subscribe_packet(*filters), unsubscribe_packet(*filters)):
        with connected(hub) as client:
            client.send(packet)
            assert client.rest() == []


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_message_on_a_very_long_topic_is_acknowledged_and_no_more(enos_hub: HubFactory, qos: int) -> None:
    """In its turn: what is kept of topics is kept for many, and no topic of the protocol is so long."""
    hub = start(enos_hub)
    topic = resume_topic("alone")
    with connected(hub) as client:
        client.send(
            encode_publish(topic, resume(1), qos=1, packet_id=1),
            encode_publish("/sys/P/alone/" + "x" * 60_000, b"{}", qos=qos, packet_id=qos and 2),
            encode_publish(topic, resume(1, time=2), qos=1, packet_id=3),
        )
        kinds = [PacketType.PUBLISH, PacketType.PUBACK]
        kinds += [[], [PacketType.PUBACK], [PacketType.PUBREC]][qos]
        for kind in [*kinds, PacketType.PUBLISH, PacketType.PUBACK]:
            client.expect(kind)
        client.ping()
    assert metric(hub, "enos_ingest_publishes_denied_total") == 1
    assert hub.quarantine() == []


@pytest.mark.parametrize(
    "flood",
    [PINGREQ, subscribe_packet("#"), unsubscribe_packet("/sys/P/alone/x")],
    ids=["ping", "subscribe", "unsubscribe"],
)
def test_a_flood_of_small_packets_leaves_others_their_turn(enos_hub: HubFactory, flood: bytes) -> None:
    """The hub reads some packets of a client, then those of others."""
    hub = start(enos_hub)
    seen: list[int] = []
    with connected(hub) as client, connected(hub, "P/other") as other:
        client.send(flood * 20_000)
        first = client.receive()
        assert first is not None
        other.ping()
        while len(seen) < 19_999:
            packet = client.receive()
            assert packet is not None
            seen.append(packet.first_byte)
    assert set(seen) == {first.first_byte}


@pytest.mark.parametrize("who", ["alice", "reader"])
def test_messages_of_qos_2_without_pubrel_are_bounded(enos_hub: HubFactory, who: str) -> None:
    """Of an operator, too, whether it may publish or not; those that are released make room."""
    hub = start(enos_hub, unacknowledged=3)
    with RawClient(hub) as client:
        assert client.connect(connect_packet(operator(who))) == 0
        for number in range(1, 6):
            client.send(encode_publish("plant/line", b"x", qos=2, packet_id=number))
            client.expect(PacketType.PUBREC)
            if number < 3:
                client.send(b"\x62\x02" + number.to_bytes(2))
                client.expect(PacketType.PUBCOMP)
        client.send(encode_publish("plant/line", b"x", qos=2, packet_id=6))
        assert client.rest() == []
    assert closed(hub, "protocol") == 1


def test_refused_filters_take_no_room(enos_hub: HubFactory) -> None:
    """Only what is held counts."""
    hub = start(enos_hub, subscriptions=2)
    with connected(hub) as client:
        assert client.subscribe("#", "/sys/P/other/#", "/sys/P/alone/#") == [0x80, 0x80, 0]
        assert client.subscribe("/sys/+/+/thing/service/+") == [0]


def test_filters_given_up_at_once_take_no_room(enos_hub: HubFactory) -> None:
    """A client need not wait for SUBACK before it unsubscribes."""
    hub = start(enos_hub, subscriptions=2)
    with connected(hub) as client:
        for number in range(4):
            topic = f"/sys/P/alone/x/{number}"
            client.send(subscribe_packet(topic), unsubscribe_packet(topic))
            client.expect(PacketType.SUBACK)
            client.expect(PacketType.UNSUBACK)
        assert client.subscribe("/sys/P/alone/a", "/sys/P/alone/b") == [0, 0]


def test_connections_of_one_address_over_their_limit_are_refused(enos_hub: HubFactory) -> None:
    """Whoever they are; those of other addresses, and the hub's own, are not counted among them."""
    hub = start(enos_hub, connections_per_address=1)
    with connected(hub), RawClient(hub) as second:
        assert second.connect(connect_packet(hub.credentials("P/gw"))) == 3
        assert second.receive() is None
        with RawClient(hub, source="127.0.0.2") as elsewhere:
            assert elsewhere.connect(connect_packet(hub.credentials("P/gw"))) == 0
    assert metric(hub, "enos_ingest_connections_refused_total") == 1


def test_connects_of_one_address_over_their_rate_are_refused(enos_hub: HubFactory) -> None:
    """Until a second has gone by; other addresses are let in."""
    hub = start(enos_hub, connects_per_second=2)
    codes = []
    for _ in range(4):
        with RawClient(hub) as client:
            codes.append(client.connect(connect_packet(hub.credentials("P/gw"))))
    assert codes[:2] == [0, 0]
    assert 3 in codes
    with RawClient(hub, source="127.0.0.2") as elsewhere:
        assert elsewhere.connect(connect_packet(hub.credentials("P/gw"))) == 0


def test_connections_over_the_limit_are_refused_until_others_end(enos_hub: HubFactory) -> None:
    """With code 3; the hub's own subscriber takes no place of theirs."""
    hub = start(enos_hub, connections=2)
    with connected(hub) as first, connected(hub, "P/other"), RawClient(hub) as third:
        assert third.connect(connect_packet(hub.credentials("P/gw"))) == 3
        assert third.receive() is None
        assert metric(hub, "enos_ingest_connections_refused_total") == 1
        first.send(DISCONNECT)
        assert first.rest() == []
        eventually(lambda: inside.connections(hub) == 1)
        with connected(hub, "P/gw") as fourth:
            fourth.send(PINGREQ)
            fourth.expect(PacketType.PINGRESP)
