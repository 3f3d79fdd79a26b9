"""More than the hub can take: it stops reading, and goes on where it stopped."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from enos_ingest.endpoint.packets import PacketType, encode_publish
from enos_ingest.protocol.credentials import make_credentials
from enos_ingest.protocol.identity import DeviceId
from tests.endpoint import inside
from tests.endpoint.raw import RawClient, connect_packet
from tests.endpoint.site import MODELS, REGISTRY, operator, resume, resume_topic
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
def locked(hub: Hub) -> Iterator[None]:
    """Keep the hub from committing."""
    other = sqlite3.connect(hub.database, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
    finally:
        other.close()


@contextmanager
def sending(client: RawClient, packets: bytes) -> Iterator[threading.Thread]:
    """Send in a thread, which waits while the hub does not read, and be done with it at the end."""
    thread = threading.Thread(target=client.socket.sendall, args=(packets,))
    thread.start()
    try:
        yield thread
    finally:
        thread.join()


def passed(hub: Hub) -> int:
    """How many messages of clients the hub has read and passed on."""
    return sum(relay.published for name, relay in inside.relays(hub).items() if name != "%hub%")


def cannot_commit(hub: Hub) -> bool:
    """Whether the hub has found out that it cannot commit."""
    return inside.store(hub).failure is not None


def test_reading_stops_while_the_store_cannot_commit(enos_hub: HubFactory) -> None:
    """The device is pushed back by TCP; once commits succeed all of its messages are stored and answered."""
    hub = enos_hub(registry=REGISTRY, models=MODELS, settings={"limits.in_flight": str(IN_FLIGHT)})
    topic = resume_topic("alone")
    reports = [encode_publish(topic, resume("x" * 1000, name="text", time=number)) for number in range(MANY)]
    with device(hub) as client:
        client.subscribe(f"{topic}_reply")
        with ExitStack() as lock:
            lock.enter_context(locked(hub))
            with sending(client, b"".join(reports)):
                eventually(lambda: cannot_commit(hub))
                eventually(lambda: inside.intake(hub).in_flight >= IN_FLIGHT)
                # Nothing more is read, however long it lasts: two further tries of the writer go by.
                failed = inside.store(hub).failed_commits
                eventually(lambda: inside.store(hub).failed_commits >= failed + 2)
                assert IN_FLIGHT <= passed(hub) <= IN_FLIGHT + IN_TRANSIT
                assert hub.points("P/alone") == []
                lock.close()
                for _ in range(MANY):
                    assert client.message().topic == f"{topic}_reply"
    assert [stored.time for stored in hub.points("P/alone")] == list(range(MANY))


def test_messages_that_wait_are_not_lost_when_their_device_goes(enos_hub: HubFactory) -> None:
    """What was acknowledged is stored, also where the store comes back after the device has left."""
    hub = enos_hub(registry=REGISTRY, models=MODELS)
    topic = resume_topic("alone")
    with locked(hub):
        with device(hub) as client:
            for number in range(20):
                client.publish(topic, resume(1, time=number), packet_id=1 + number)
        eventually(lambda: inside.online(hub) == 0)
        assert hub.points("P/alone") == []
    eventually(lambda: len(hub.points("P/alone")) == 20)


def test_payloads_are_bounded_in_bytes_too(enos_hub: HubFactory) -> None:
    """Few long messages weigh as much as many short ones."""
    hub = enos_hub(registry=REGISTRY, models=MODELS, settings={"limits.in_flight_bytes": 100_000})
    report = encode_publish(resume_topic("alone"), resume("x" * 40_000, name="text"))
    with device(hub) as client, ExitStack() as lock:
        lock.enter_context(locked(hub))
        with sending(client, report * 40):
            eventually(lambda: cannot_commit(hub))
            failed = inside.store(hub).failed_commits
            eventually(lambda: inside.store(hub).failed_commits >= failed + 2)
            assert 3 <= passed(hub) <= 20  # some between the broker's queue and the intake, which count by number
            lock.close()
    eventually(lambda: inside.store(hub).committed_records >= 40)


def test_clients_that_leave_while_nothing_is_read_are_let_go(enos_hub: HubFactory) -> None:
    """Else those that come back, under another client id as the SDKs do, would soon be more than there may be."""
    hub = enos_hub(registry=REGISTRY, models=MODELS, settings={"limits.in_flight": 1, "limits.connections": 4})
    with locked(hub):
        for number in range(3):
            client = RawClient(hub)
            credentials = make_credentials(DeviceId("P", "alone"), "alone-secret", number)
            assert client.connect(connect_packet(credentials, keep_alive=1)) == 0
            client.send(*[encode_publish(resume_topic("alone"), resume(1, time=time)) for time in range(5)])
            client.socket.close()
        eventually(lambda: cannot_commit(hub))
        eventually(lambda: inside.connections(hub) == 0)


def test_a_denied_publish_waits_for_the_store_too(enos_hub: HubFactory) -> None:
    """It is acknowledged once it is in quarantine."""
    hub = enos_hub(registry=REGISTRY, models=MODELS)
    with device(hub) as client:
        with locked(hub):
            client.send(encode_publish(resume_topic("other"), resume(1), qos=1, packet_id=1))
            eventually(lambda: cannot_commit(hub))
            client.ping()
        client.message()
        client.expect(PacketType.PUBACK)
    assert len(hub.quarantine()) == 1


def test_a_flood_is_read_no_faster_than_the_broker_takes_it(enos_hub: HubFactory) -> None:
    """Another device is served meanwhile, and nothing is lost."""
    hub = enos_hub(registry=REGISTRY, models=MODELS)
    flood = b"".join(encode_publish(resume_topic("alone"), resume(1, time=number)) for number in range(5 * MANY))
    behind = []
    with device(hub) as client, device(hub, "P/other") as other, sending(client, flood) as sender:
        relay = inside.relays(hub)["P/alone"]
        number = 0
        while sender.is_alive():
            number += 1
            other.publish(resume_topic("other"), resume(1, time=number))
            behind.append(relay.published - relay.taken)
        assert max(behind) <= IN_TRANSIT
        client.ping()
    eventually(lambda: len(hub.points("P/alone")) == 5 * MANY)
    eventually(lambda: len(hub.points("P/other")) == number)


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
