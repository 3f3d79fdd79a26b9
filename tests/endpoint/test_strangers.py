"""Strangers: who takes one port for another, handshakes all at once."""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import TYPE_CHECKING, cast

import pytest

from enos_ingest.endpoint.handshakes import Handshakes, TooManyHandshakesError
from tests.endpoint import inside
from tests.endpoint.raw import RawClient, connect_packet
from tests.endpoint.site import metric
from tests.endpoint.tls_site import OTHER_CA, Address, TlsClient, refused, secure_address
from tests.endpoint.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from enos_ingest.testing.hub import Hub


def hello() -> bytes:
    """How a client of TLS begins."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


# What the log says.


@pytest.mark.parametrize(
    ("is_tls", "sent", "said"),
    [
        (False, hello(), "the client spoke TLS to the plain port"),
        (False, b"GET / HTTP/1.1\r\n\r\n", "the client spoke HTTP to the MQTT port"),
        (False, connect_packet().replace(b"MQTT\x04", b"MQTT\x05"), "MQTT 5 is not served, MQTT 3.1.1 is"),
        (True, b"GET / HTTP/1.1\r\n\r\n", "TLS: the client spoke HTTP"),
        (True, connect_packet(), "TLS: the client did not speak TLS"),
    ],
    ids=["TLS", "HTTP", "MQTT 5", "HTTP to TLS", "MQTT to TLS"],
)
def test_who_takes_one_port_for_another_is_told_of_in_words(
    start: Callable[..., Hub], caplog: pytest.LogCaptureFixture, is_tls: bool, sent: bytes, said: str
) -> None:
    """An operator reads what to mend, and no places in source files."""
    hub = start()
    address = secure_address(hub) if is_tls else Address(hub.host, hub.port)
    with RawClient(cast("Hub", address)) as client:
        client.send(sent)
        client.rest()
    eventually(lambda: metric(hub, "enos_ingest_connections_refused_total") == 1)
    assert f'reason="{said}"' in caplog.text


def test_who_does_not_trust_the_certificate_is_told_of_in_words(
    start: Callable[..., Hub], caplog: pytest.LogCaptureFixture
) -> None:
    """The most frequent of all mistakes with TLS."""
    hub = start()
    with pytest.raises(ssl.SSLCertVerificationError):
        TlsClient(secure_address(hub), OTHER_CA)
    eventually(lambda: refused(hub, "tls") == 1)
    assert 'reason="TLS: the client does not trust the certificate"' in caplog.text


# Handshakes, all at once.


def test_handshakes_over_the_limit_are_refused(start: Callable[..., Hub]) -> None:
    """Those that wait get their turn, and afterwards anybody does."""
    hub = start(tls_handshakes=2)
    clients = [RawClient(cast("Hub", secure_address(hub))) for _ in range(5)]
    try:
        eventually(lambda: inside.accepted(hub) == 5)

        def say_hello_at_once() -> None:
            for client in clients:
                client.send(hello())
            time.sleep(0.2)  # the event loop stands still, and finds all of them when it goes on

        inside.run_inside(hub, say_hello_at_once)
        eventually(lambda: refused(hub, "handshakes") == 3)
        eventually(lambda: inside.accepted(hub) == 2)
    finally:
        for client in clients:
            client.socket.close()
    with TlsClient(secure_address(hub)) as device:
        assert device.connect(connect_packet(hub.credentials("P/alone"))) == 0


class Slow:
    """A connection whose handshake takes a while."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.is_done = False

    def shake_hands(self) -> None:
        """Take that long."""
        time.sleep(self.seconds)  # stands for OpenSSL, which keeps the event loop as long
        self.is_done = True


def test_handshakes_leave_others_their_turn() -> None:
    """In their order, a few a turn; what takes no time is done in one."""

    async def run(slow: list[Slow]) -> list[int]:
        handshakes = Handshakes(len(slow))
        for each in slow:
            handshakes.wait(each)
        with pytest.raises(TooManyHandshakesError, match=f"more than {len(slow)} handshakes wait"):
            handshakes.wait(Slow(0))
        done = []
        while not slow[-1].is_done:
            await asyncio.sleep(0)
            done.append(sum(each.is_done for each in slow))
            assert [each.is_done for each in slow] == sorted([each.is_done for each in slow], reverse=True)
        return done

    assert asyncio.run(run([Slow(0.003) for _ in range(5)])) == [1, 2, 3, 4, 5]
    assert len(asyncio.run(run([Slow(0) for _ in range(5)]))) < 5
