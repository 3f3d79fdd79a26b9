"""How the hub ends a connection: its last words arrive, whatever the client still sends."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import uvloop

from enos_ingest.endpoint import connection as connection_module
from enos_ingest.endpoint.connection import Connection
from enos_ingest.endpoint.packets import PacketType, encode_publish
from enos_ingest.protocol.credentials import Credentials
from tests.endpoint import inside
from tests.endpoint.everything import LIMITS, Everything
from tests.endpoint.raw import DISCONNECT, PINGREQ, RawClient, connect_packet, subscribe_packet
from tests.endpoint.site import MODELS, REGISTRY, operator, resume, resume_topic
from tests.endpoint.waiting import DEADLINE, eventually

if TYPE_CHECKING:
    from enos_ingest.testing import HubFactory

REFUSED = Credentials("x|securemode=2,timestamp=1|", "alone&P", "wrong")
MUCH = PINGREQ * 50_000


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (connect_packet(REFUSED), 4),
        (connect_packet(), 5),
        (connect_packet(Credentials("x", "alice", "wrong")), 4),
    ],
    ids=["device", "anonymous", "operator"],
)
def test_a_client_that_sends_on_reads_why_it_was_refused(enos_hub: HubFactory, sent: bytes, code: int) -> None:
    """CONNACK, then the end, and no reset, which could take CONNACK with it."""
    hub = enos_hub(registry=REGISTRY, models=MODELS)
    with RawClient(hub) as client:
        client.send(sent + MUCH)
        assert client.expect(PacketType.CONNACK).body == bytes((0, code))
        client.send(MUCH)
        assert client.ends_in_peace()
    eventually(lambda: inside.accepted(hub) == 0)


def test_one_for_whom_there_is_no_room_reads_that(enos_hub: HubFactory) -> None:
    """Though its CONNECT is never read."""
    hub = enos_hub(registry=REGISTRY, models=MODELS, settings={"limits.connections": 1})
    with RawClient(hub) as first:
        assert first.connect(connect_packet(hub.credentials("P/alone"))) == 0
        for _ in range(20):
            with RawClient(hub) as client:
                client.send(connect_packet(hub.credentials("P/gw")) + MUCH)
                assert client.expect(PacketType.CONNACK).body == b"\0\3"
                assert client.ends_in_peace()


def test_so_many_strangers_may_linger_and_no_more(enos_hub: HubFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are closed at once: they take a file each that nobody has counted."""
    monkeypatch.setattr("enos_ingest.endpoint.listener._TURNED_AWAY", 2)
    hub = enos_hub(registry=REGISTRY, models=MODELS, settings={"limits.connections": 1})
    with RawClient(hub) as first:
        assert first.connect(connect_packet(hub.credentials("P/alone"))) == 0
        clients = [RawClient(hub) for _ in range(4)]
        try:
            for client in clients:
                assert client.expect(PacketType.CONNACK).body == b"\0\3"
                assert client.receive() is None
            away = inside.listener(hub)._turned_away  # noqa: SLF001
            assert len(away) <= 2
            eventually(lambda: not away)
        finally:
            for client in clients:
                client.socket.close()


@pytest.mark.parametrize("who", ["P/alone", "alice"])
def test_a_client_that_breaks_the_protocol_reads_what_it_was_sent_before(enos_hub: HubFactory, who: str) -> None:
    """A device as an operator, while it floods."""
    hub = enos_hub(registry=REGISTRY, models=MODELS)
    with RawClient(hub) as client:
        assert client.connect(connect_packet(hub.credentials(who) if "/" in who else operator(who))) == 0
        client.send(subscribe_packet("/sys/P/alone/thing/x"))
        eventually(lambda: not client.receives_nothing())
        client.send(b"\xf0\x00" + MUCH)
        client.expect(PacketType.SUBACK)
        assert client.ends_in_peace()
    eventually(lambda: inside.accepted(hub) == 0)


def test_a_device_that_is_taken_over_reads_its_last_replies(enos_hub: HubFactory) -> None:
    """Those of what was committed before, though it reports without a pause."""
    hub = enos_hub(registry=REGISTRY, models=MODELS)
    with RawClient(hub) as older, RawClient(hub) as newer:
        assert older.connect(connect_packet(hub.credentials("P/alone"))) == 0
        older.publish(resume_topic("alone"), resume(1))
        flood = encode_publish(resume_topic("alone"), resume(2), qos=1, packet_id=1) * 2000
        sender = threading.Thread(target=older.send, args=(flood,))
        sender.start()
        assert newer.connect(connect_packet(hub.credentials("P/alone"))) == 0
        sender.join()
        assert older.message().topic == f"{resume_topic('alone')}_reply"
        assert older.ends_in_peace()


def run_with_client(factory: Callable[[], asyncio.AbstractEventLoop], talk: Callable[[socket.socket], None]) -> float:
    """Have a connection closed after CONNECT and its answer, and say how long its socket stays."""

    async def run() -> float:
        host = Everything()
        connection = Connection(host, LIMITS)
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listening:
            theirs = socket.create_connection(listening.getsockname())
            ours, _ = listening.accept()
        with theirs:
            await loop.create_connection(lambda: connection, sock=ours)
            theirs.sendall(connect_packet())
            while not host.received:  # CONNECT is not among them, PINGREQ is
                theirs.sendall(PINGREQ)
                await asyncio.sleep(0)
            connection.send(b"goodbye")
            started = time.monotonic()
            connection.close("protocol")
            talking = asyncio.create_task(asyncio.to_thread(talk, theirs))
            async with asyncio.timeout(DEADLINE):
                while host.told[-1] != "departed":
                    await asyncio.sleep(0.01)
            took = time.monotonic() - started
            await talking
        return took

    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(run())


def read_all(theirs: socket.socket) -> None:
    """Read to the end."""
    read = b""
    while data := theirs.recv(100):
        read += data
    assert read == b"goodbye"


def read_and_close(theirs: socket.socket) -> None:
    """Read to the end, then close, as a client does."""
    read_all(theirs)
    theirs.close()


def send_much(theirs: socket.socket) -> None:
    """Send more than is taken of one whose connection has ended."""
    with pytest.raises(ConnectionError):
        theirs.sendall(b"x" * 50_000_000)


FACTORIES = [asyncio.new_event_loop, uvloop.new_event_loop]


@pytest.mark.parametrize("factory", FACTORIES, ids=["asyncio", "uvloop"])
def test_an_ended_connection_goes_with_its_client(
    factory: Callable[[], asyncio.AbstractEventLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once where that closes it too, else soon; and at once where it sends and sends."""
    monkeypatch.setattr(connection_module, "_LINGER_SECONDS", 2 * DEADLINE)
    run_with_client(factory, read_and_close)
    run_with_client(factory, send_much)
    monkeypatch.setattr(connection_module, "_LINGER_SECONDS", 1.0)
    assert run_with_client(factory, read_all) > 0.9


def test_a_client_that_has_said_goodbye_is_not_waited_for(
    enos_hub: HubFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After DISCONNECT its place is free, whether or not it closes its socket."""
    for name in ("_LINGER_SECONDS", "_FLUSH_SECONDS"):
        monkeypatch.setattr(connection_module, name, 2 * DEADLINE)
    hub = enos_hub(registry=REGISTRY, models=MODELS)
    with RawClient(hub) as client:
        assert client.connect(connect_packet(hub.credentials("P/alone"))) == 0
        client.send(DISCONNECT)
        eventually(lambda: inside.accepted(hub) == 0)
