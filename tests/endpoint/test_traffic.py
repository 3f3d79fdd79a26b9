"""What all connections hold together: unfinished packets, and replies that nobody reads."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING

import pytest

from enos_ingest.endpoint.packets import PacketType, encode_publish
from enos_ingest.protocol.credentials import Credentials
from tests.endpoint import inside
from tests.endpoint.raw import RawClient, connect_packet
from tests.endpoint.site import MODELS, REGISTRY, metric, operator, resume, resume_topic
from tests.endpoint.waiting import eventually

if TYPE_CHECKING:
    from enos_ingest.testing import HubFactory
    from enos_ingest.testing.hub import Hub

LONG = 40_000
"""Longer than what is read whenever it comes; two of them are more than there is room for."""


def start(enos_hub: HubFactory, **limits: int) -> Hub:
    """A hub with some limits of its own."""
    settings = {f"limits.{name}": str(value) for name, value in limits.items()}
    return enos_hub(registry=REGISTRY, models=MODELS, settings=settings)


def connected(hub: Hub, name: str, *, receive_buffer: int = 0) -> RawClient:
    """A device, or an operator, that was let in."""
    client = RawClient(hub, receive_buffer=receive_buffer)
    assert client.connect(connect_packet(hub.credentials(name) if "/" in name else operator(name))) == 0
    return client


def report(device: str, size: int = LONG) -> bytes:
    """A report of so many bytes, about."""
    return encode_publish(resume_topic(device), resume("x" * size, name="text"), qos=1, packet_id=1)


def held(hub: Hub) -> int:
    """How many bytes the hub holds of unfinished packets."""
    return inside.listener(hub).incoming.held


def holds(hub: Hub, size: int) -> bool:
    """Whether it is so many."""
    return held(hub) == size


def has_committed(hub: Hub, records: int) -> bool:
    """Whether so many messages are on disk."""
    return inside.store(hub).committed_records >= records


def test_long_packets_wait_for_room_in_turn(enos_hub: HubFactory) -> None:
    """Who waits is not read on and loses nothing; short packets pass."""
    hub = start(enos_hub, packet_bytes=60_000, message_bytes=60_000, incoming_bytes_total=60_000)
    with connected(hub, "P/alone") as first, connected(hub, "P/gw") as second, connected(hub, "P/other") as third:
        first.send(report("alone")[:30_000])
        eventually(lambda: held(hub) == 30_000)
        second.send(report("gw")[:30_000])
        eventually(lambda: inside.listener(hub).incoming.waiting == 1)
        second.send(report("gw")[30_000:])
        third.send(report("other", 100))
        assert third.acknowledged(1) == [1]
        assert second.receives_nothing()
        first.send(report("alone")[30_000:])
        assert first.acknowledged(1) == second.acknowledged(1) == [1]
        assert held(hub) == 0
    assert metric(hub, "enos_ingest_reading_paused_total") == 1


def test_a_client_that_ends_gives_its_room_to_others(enos_hub: HubFactory) -> None:
    """As one that never completes its packet does in the end."""
    hub = start(enos_hub, packet_bytes=60_000, message_bytes=60_000, incoming_bytes_total=60_000)
    with connected(hub, "P/gw") as second:
        with connected(hub, "P/alone") as first:
            first.send(report("alone")[:30_000])
            eventually(lambda: held(hub) == 30_000)
            second.send(report("gw")[:30_000])
            eventually(lambda: inside.listener(hub).incoming.waiting == 1)
        second.send(report("gw")[30_000:])
        assert second.acknowledged(1) == [1]


def test_long_packets_of_operators_wait_with_the_others(enos_hub: HubFactory) -> None:
    """One queue for all; an operator that gives up makes room as well."""
    hub = start(enos_hub, packet_bytes=60_000, message_bytes=60_000, incoming_bytes_total=60_000)
    incoming = inside.listener(hub).incoming
    with connected(hub, "P/alone") as first, connected(hub, "P/gw") as last:
        first.send(report("alone")[:30_000])
        eventually(lambda: held(hub) == 30_000)
        with connected(hub, "alice") as bench, connected(hub, "writer") as gone:
            bench.send(report("other"))
            eventually(lambda: incoming.waiting == 1)
            gone.send(report("other")[:20_000])
            eventually(lambda: incoming.waiting == 2)
            last.send(report("gw")[:30_000])
            eventually(lambda: incoming.waiting == 3)
            assert bench.receives_nothing()
            first.send(report("alone")[30_000:])
            assert bench.acknowledged(1) == [1]
        last.send(report("gw")[30_000:])
        assert last.acknowledged(1) == [1]
    assert metric(hub, "enos_ingest_reading_paused_total") == 3


def test_what_is_held_all_the_same_is_bounded_too(enos_hub: HubFactory) -> None:
    """Beyond twice the limit whoever holds most ends; the others complete what they began."""
    hub = start(enos_hub, packet_bytes=17_000, message_bytes=17_000, incoming_bytes_total=17_000)
    names = "alone", "gw", "other"
    with contextlib.ExitStack() as stack:
        clients = {name: stack.enter_context(connected(hub, f"P/{name}")) for name in names}
        for name, size, sum_ in zip(names, (10_000, 14_000, 12_000), (10_000, 24_000, 22_000), strict=True):
            clients[name].send(report(name, 15_000)[:size])
            eventually(functools.partial(holds, hub, sum_))
        assert clients["gw"].rest() == []
        for name, size in (("alone", 10_000), ("other", 12_000)):
            clients[name].send(report(name, 15_000)[size:])
            assert clients[name].acknowledged(1) == [1]
    assert metric(hub, "enos_ingest_connections_closed_total") == 3


def test_strangers_hold_no_more_than_others(enos_hub: HubFactory) -> None:
    """An unfinished CONNECT is an unfinished packet."""
    hub = start(enos_hub, packet_bytes=17_000, message_bytes=17_000, incoming_bytes_total=17_000)
    packet = connect_packet(Credentials("x" * 16_000, "a&b", "c"))
    with RawClient(hub) as first, RawClient(hub) as second, RawClient(hub) as third:
        for client, size in ((first, 11_000), (second, 15_000), (third, 12_000)):
            client.send(packet[:size])
            eventually(lambda: held(hub) in (11_000, 26_000, 23_000))
        eventually(lambda: held(hub) == 23_000)
        assert second.rest() == []
        first.send(packet[11_000:])
        assert first.expect(PacketType.CONNACK).body == b"\0\2"
    assert metric(hub, "enos_ingest_connections_refused_total") == 2


def leave_unread(hub: Hub, client: RawClient, device: str, unread: int) -> None:
    """Have long replies sent to a client that reads none, until so many bytes wait for it, or it is cut off."""
    body = resume(1, identifier="x" * 100_000)
    request = encode_publish(resume_topic(device), body, qos=0)
    connection = inside.session(hub, f"P/{device}")._connection  # noqa: SLF001
    with contextlib.suppress(ConnectionError):
        while connection.unread < unread and not connection.is_closing:
            before = inside.store(hub).committed_records
            client.send(request)
            eventually(functools.partial(has_committed, hub, before + 1))


def test_replies_that_nobody_reads_are_bounded_in_all(enos_hub: HubFactory, caplog: pytest.LogCaptureFixture) -> None:
    """Though none is too slow by itself the one for whom most waits is cut off, and the log says why."""
    hub = start(enos_hub, outgoing_bytes=2**24, outgoing_bytes_total=2**20)
    with (
        connected(hub, "P/alone", receive_buffer=4096) as little,
        connected(hub, "P/gw", receive_buffer=4096) as much,
        connected(hub, "P/other") as bystander,
    ):
        leave_unread(hub, little, "alone", 200_000)
        assert metric(hub, "enos_ingest_outgoing_bytes") >= 200_000
        with caplog.at_level("WARNING", "enos_ingest.endpoint.session"):
            leave_unread(hub, much, "gw", 2**24)
            eventually(lambda: inside.connections(hub) == 2)
        assert "not read, more than by others, of 1" in caplog.text
        assert "client=P/gw" in caplog.text
        bystander.ping()
        assert little.message().topic == f"{resume_topic('alone')}_reply"
    eventually(lambda: inside.listener(hub).outgoing.unread == 0)


def test_operators_that_read_slowly_count_with_the_others(enos_hub: HubFactory) -> None:
    """What the broker sends them waits in the same memory."""
    hub = start(enos_hub, outgoing_bytes=2**24, outgoing_bytes_total=2**20)
    payload = b"x" * 2**16
    with (
        connected(hub, "reader", receive_buffer=4096) as deaf,
        connected(hub, "reader") as reader,
        connected(hub, "writer") as writer,
    ):
        for client in (deaf, reader):
            assert client.subscribe("plant/#") == [0]
        for _ in range(100):
            writer.publish("plant/line", payload)
            assert reader.message().payload == payload
        eventually(lambda: inside.connections(hub) == 2)
        reader.ping()
    eventually(lambda: inside.listener(hub).outgoing.unread == 0)
