"""More than the hub can take: it stops reading, and goes on where it stopped."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from enos_ingest.endpoint.packets import PacketType, encode_publish
from tests.endpoint import inside
from tests.endpoint.raw import RawClient, connect_packet
from tests.endpoint.site import MODELS, REGISTRY, metric, operator, resume, resume_topic
from tests.endpoint.waiting import DEADLINE, eventually

if TYPE_CHECKING:
    from enos_ingest.testing import HubFactory
    from enos_ingest.testing.hub import Hub

IN_FLIGHT = 10
MANY = 1000
IN_TRANSIT = 64
"""What may be on its way through the broker when the limit is seen to be reached."""


def device(hub: Hub, name: str = "P/alone") -> RawClient:
    """A device that was let in, with little room in the kernel."""
    client = RawClient(hub, send_buffer=4096)
    assert client.connect(connect_packet(hub.credentials(name))) == 0
    return client


@contextmanager
def sending(client: RawClient, packets: bytes) -> Iterator[threading.Thread]:
    """Send in a thread, which waits while the hub does not read, and be done with it at the end."""
    thread = threading.Thread(target=client.socket.sendall, args=(packets,))
    thread.start()
    try:
        yield thread
    finally:
        thread.join()


def cannot_commit(hub: Hub) -> bool:
    """Whether the hub has found out that it cannot commit."""
    return inside.store(hub).failure is not None


def report(number: int, *, device: str = "alone", size: int = 1000) -> bytes:
    """A PUBLISH of QoS 1 whose packet id tells its number."""
    body = resume("x" * size, name="text", time=number, identifier=str(number))
    return encode_publish(resume_topic(device), body, qos=1, packet_id=1 + number)


def test_reading_stops_while_the_store_cannot_commit(enos_hub: HubFactory) -> None:
    """No reply, no PUBACK, keep-alive does not count; once commits succeed all is stored, answered and in order."""
    hub = enos_hub(registry=REGISTRY, models=MODELS, settings={"limits.in_flight": str(IN_FLIGHT)})
    with RawClient(hub, send_buffer=4096) as client:
        assert client.connect(connect_packet(hub.credentials("P/alone"), keep_alive=1)) == 0
        with ExitStack() as lock:
            lock.enter_context(inside.locked(hub))
            with sending(client, b"".join(map(report, range(MANY)))):
                eventually(lambda: cannot_commit(hub))
                assert 1 <= inside.intake(hub).in_flight <= IN_FLIGHT
                waiting = inside.intake(hub).in_flight
                # Nothing more is read, however long it lasts: four further tries of the writer take seconds.
                failed = inside.store(hub).failed_commits
                eventually(lambda: inside.store(hub).failed_commits >= failed + 4)
                assert inside.intake(hub).in_flight == waiting
                assert hub.points("P/alone") == []
                assert client.receives_nothing()
                assert any("locked by another program" in reason for reason in inside.reasons(hub))
                lock.close()
                for number in range(MANY):
                    assert client.message().topic == f"{resume_topic('alone')}_reply"
                    assert client.expect(PacketType.PUBACK).body == (1 + number).to_bytes(2)
    assert [stored.time for stored in hub.points("P/alone")] == list(range(MANY))
    assert metric(hub, "enos_ingest_reading_paused_total") > 0


@pytest.mark.parametrize("who", ["P/other", "alice"])
def test_nobody_new_is_let_in_while_the_store_cannot_commit(enos_hub: HubFactory, who: str) -> None:
    """With code 3, which tells a client to come again; afterwards it gets in."""
    hub = enos_hub(registry=REGISTRY, models=MODELS)
    connect = connect_packet(hub.credentials(who) if "/" in who else operator(who))
    with device(hub) as client, inside.locked(hub):
        client.send(report(1))
        eventually(lambda: cannot_commit(hub))
        with RawClient(hub) as newcomer:
            assert newcomer.connect(connect) == 3
            assert newcomer.rest() == []
    eventually(lambda: not cannot_commit(hub))
    with RawClient(hub) as newcomer:
        assert newcomer.connect(connect) == 0


def test_messages_that_wait_are_stored_when_their_device_goes(enos_hub: HubFactory) -> None:
    """They were read, so they are kept; the device got no answer and will send them again, which changes nothing."""
    hub = enos_hub(registry=REGISTRY, models=MODELS)
    with inside.locked(hub):
        with device(hub) as client:
            client.send(*map(report, range(20)))
            eventually(lambda: cannot_commit(hub))
            read = inside.intake(hub).in_flight - 1  # the device's first login waits as well
        assert hub.points("P/alone") == []
    eventually(lambda: inside.online(hub) == 0)
    eventually(lambda: len(hub.points("P/alone")) >= read)
    with device(hub) as client:
        client.send(*map(report, range(20)))
        client.acknowledged(20)
    assert [stored.time for stored in hub.points("P/alone")] == list(range(20))


def test_payloads_are_bounded_in_bytes_too(enos_hub: HubFactory) -> None:
    """Few long messages weigh as much as many short ones."""
    hub = enos_hub(registry=REGISTRY, models=MODELS, settings={"limits.in_flight_bytes": 100_000})
    with device(hub) as client, ExitStack() as lock:
        lock.enter_context(inside.locked(hub))
        with sending(client, b"".join(report(number, size=40_000) for number in range(40))):
            eventually(lambda: cannot_commit(hub))
            failed = inside.store(hub).failed_commits
            eventually(lambda: inside.store(hub).failed_commits >= failed + 2)
            assert 1 <= inside.intake(hub).in_flight <= 4  # three messages, and perhaps the device's first login
            lock.close()
            client.acknowledged(40)


def test_one_connection_takes_no_more_than_its_share(enos_hub: HubFactory) -> None:
    """It is read no further while so many of its messages wait; others are."""
    hub = enos_hub(registry=REGISTRY, models=MODELS, settings={"limits.in_flight_per_connection": IN_FLIGHT})
    flood = b"".join(map(report, range(MANY)))
    most = 0
    with device(hub) as client, device(hub, "P/other") as other, sending(client, flood):
        session = inside.session(hub, "P/alone")
        for number in range(50):
            other.send(report(number, device="other"))
            other.acknowledged(1)
            most = max(most, session.in_flight)
        client.acknowledged(MANY)
    assert most <= IN_FLIGHT
    assert len(hub.points("P/alone")) == MANY
    assert metric(hub, "enos_ingest_reading_paused_total") > 0


def test_clients_that_left_while_nothing_was_read_are_let_go(enos_hub: HubFactory) -> None:
    """Their end is seen once reading goes on."""
    hub = enos_hub(registry=REGISTRY, models=MODELS, settings={"limits.in_flight": 1})
    clients = {name: device(hub, f"P/{name}") for name in ("alone", "other", "gw")}
    with inside.locked(hub):
        for name, client in clients.items():
            client.send(*[report(number, device=name) for number in range(5)])
            client.socket.close()
        eventually(lambda: cannot_commit(hub))
    eventually(lambda: inside.connections(hub) == inside.online(hub) == 0)


def test_a_denied_publish_waits_for_the_store_too(enos_hub: HubFactory) -> None:
    """It is answered and acknowledged once it is in quarantine."""
    hub = enos_hub(registry=REGISTRY, models=MODELS)
    with device(hub) as client:
        with inside.locked(hub):
            client.send(report(0, device="other"))
            eventually(lambda: cannot_commit(hub))
            assert client.receives_nothing()
        client.message()
        client.expect(PacketType.PUBACK)
    assert len(hub.quarantine()) == 1


def test_a_flood_is_read_no_faster_than_the_broker_takes_it(enos_hub: HubFactory) -> None:
    """An operator's: a device is served meanwhile, and nothing is lost."""
    hub = enos_hub(registry=REGISTRY, models=MODELS)
    flood = b"".join(encode_publish(resume_topic("alone"), resume(1, time=number)) for number in range(2 * MANY))
    behind, number = [], 0
    with RawClient(hub, send_buffer=4096) as bench, device(hub, "P/other") as other:
        assert bench.connect(connect_packet(operator("alice"))) == 0
        relay = inside.relays(hub)["alice"]
        with sending(bench, flood) as sender:
            while sender.is_alive():
                number += 1
                other.publish(resume_topic("other"), resume(1, time=number))
                behind.append(relay.published - relay.taken)
        bench.ping()
    assert max(behind, default=0) <= IN_TRANSIT
    eventually(lambda: len(hub.points("P/alone")) == 2 * MANY)
    assert len(hub.points("P/other")) == number


def test_operators_have_their_turn_while_devices_fill_the_hub(enos_hub: HubFactory) -> None:
    """Whoever waits for room gets it in turn: two devices that send without a pause do not keep an operator out."""
    hub = enos_hub(registry=REGISTRY, models=MODELS, settings={"limits.in_flight": 4})
    flood = 3 * MANY
    with device(hub) as first, device(hub, "P/other") as second, RawClient(hub) as bench:
        assert bench.connect(connect_packet(operator("alice"))) == 0
        with (
            sending(first, b"".join(report(number, size=10) for number in range(flood))),
            sending(second, b"".join(report(number, size=10, device="other") for number in range(flood))),
        ):
            first.acknowledged(10)
            second.acknowledged(10)
            for number in range(20):
                bench.publish(resume_topic("gw"), resume(1, time=number), packet_id=1 + number)
            eventually(lambda: len(hub.points("P/gw")) == 20)
            stored = len(hub.points("P/alone")) + len(hub.points("P/other"))
            first.acknowledged(flood - 10)
            second.acknowledged(flood - 10)
    assert stored < flood


def test_a_device_that_does_not_read_is_cut_off(enos_hub: HubFactory) -> None:
    """What waits for it is bounded in bytes; what it sent before is stored."""
    hub = enos_hub(registry=REGISTRY, models=MODELS, settings={"limits.outgoing_bytes": 4096})
    identifier = "x" * 100_000
    request = encode_publish(resume_topic("alone"), resume(1, identifier=identifier), qos=1, packet_id=1)
    with RawClient(hub, receive_buffer=4096) as deaf, device(hub, "P/other") as bystander:
        assert deaf.connect(connect_packet(hub.credentials("P/alone"))) == 0
        with contextlib.suppress(ConnectionError):  # once the hub has ended it
            for _ in range(1000):
                deaf.send(request)
                if inside.connections(hub) == 1:
                    break
        eventually(lambda: inside.connections(hub) == 1)
        assert metric(hub, "enos_ingest_connections_closed_total") == 1
        bystander.ping()
    assert len(hub.points("P/alone")) == 1


def test_a_client_that_does_not_read_is_cut_off(enos_hub: HubFactory) -> None:
    """Others that read the same get all of it, and what was kept for it is given up."""
    hub = enos_hub(registry=REGISTRY, models=MODELS, settings={"limits.outgoing_bytes": str(2**17)})
    payload = b"x" * 2**16
    with RawClient(hub, receive_buffer=4096) as deaf, RawClient(hub) as reader, RawClient(hub) as writer:
        for client, name in ((deaf, "reader"), (reader, "reader"), (writer, "writer")):
            assert client.connect(connect_packet(operator(name))) == 0
        for client in (deaf, reader):
            assert client.subscribe("plant/#") == [0]
        for number in range(100):
            writer.publish("plant/line", number.to_bytes(2) + payload)
            assert reader.message().payload == number.to_bytes(2) + payload
        eventually(lambda: inside.connections(hub) == 2)
        deaf.socket.settimeout(DEADLINE)
        assert received_until_the_end(deaf) < 100 * len(payload)
        reader.ping()


def received_until_the_end(client: RawClient) -> int:
    """How many bytes there were until the connection was closed."""
    total = 0
    try:
        while data := client.socket.recv(2**16):
            total += len(data)
    except ConnectionResetError:
        pass
    return total
