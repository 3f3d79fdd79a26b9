"""TLS between a socket and a protocol, with Python's own client at the other end, on both event loops."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import uvloop

from enos_ingest.endpoint import tls_transport
from enos_ingest.endpoint.handshakes import Handshakes
from enos_ingest.endpoint.tls_transport import TlsTransport
from tests.endpoint.tls_server import (
    MemoryClient,
    Recorder,
    Site,
    awaited,
    client_context,
    eventually,
    receive,
    server_context,
)
from tests.process import PATIENCE


@pytest.fixture(params=["asyncio", "uvloop"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    """A server on one of the two loops, which must end with no complaint."""
    complaints: list[dict[str, Any]] = []
    loop = asyncio.SelectorEventLoop() if request.param == "asyncio" else uvloop.Loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    thread = threading.Thread(target=loop.run_forever, name="TLS server")
    thread.start()
    site = Site(loop, server_context())
    handshakes = site.call(Handshakes, 100)
    server: asyncio.Server = site.run(
        loop.create_server(lambda: TlsTransport(site.context, Recorder(site), handshakes), "127.0.0.1", 0)
    )
    assert server.sockets is not None
    site.port = server.sockets[0].getsockname()[1]
    yield site
    site.call(server.close)
    for recorder in site.recorders:
        site.call(recorder.transport.abort)
        site.run(recorder.lost.wait())
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
    assert complaints == []


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("size", [1, 16_384, 16_385, 1_000_000])
def test_bytes_come_back_as_they_were_sent(site: Site, version: ssl.TLSVersion, size: int) -> None:
    """Less than a record, one, more than one, and more than the socket takes at once."""
    context = client_context()
    context.minimum_version = context.maximum_version = version
    sent = bytes(index * index & 255 for index in range(size))

    def answer_whole(recorder: Recorder, _: bytes) -> None:
        if len(recorder.received) == size:
            recorder.transport.write(recorder.received)

    site.reply = answer_whole
    with site.connect(context) as client:
        client.sendall(sent)
        assert receive(client, size) == sent
    recorder = awaited(site)
    assert recorder.received == sent
    assert (recorder.told[0], recorder.told[-2:], recorder.error) == ("made", ["eof", "lost"], None)


def test_what_a_client_sends_with_its_handshake_is_not_lost(site: Site) -> None:
    """Many clients at once, each with data as soon as TLS allows it: the server has the hello before it looks."""

    def exchange(number: int) -> bool:
        with site.connect() as client:
            client.sendall(b"%d" % number * 100)
            return receive(client, len(b"%d" % number * 100)) == b"%d" % number * 100

    with ThreadPoolExecutor(20) as pool:
        assert all(pool.map(exchange, range(60)))


def test_a_handshake_of_single_bytes_is_made(site: Site) -> None:
    """However the network cuts it."""
    with MemoryClient(site) as client:

        def send_bytes(data: bytes) -> None:
            for byte in data:
                client.socket.send(bytes([byte]))

        client.send = send_bytes
        client.until_done(client.tls.do_handshake)
        client.until_done(lambda: client.tls.write(b"hello"))
        assert client.until_done(lambda: client.tls.read(100)) == b"hello"


def test_the_protocol_is_told_before_the_handshake(site: Site) -> None:
    """It may turn a client away without having spent anything on it, and is told once that it has gone."""
    with socket.create_connection(("127.0.0.1", site.port), timeout=PATIENCE) as client:
        eventually(site, lambda: bool(site.recorders))
        transport = site.recorders[0].transport
        assert transport.get_extra_info("peername") == client.getsockname()
        assert transport.get_extra_info("ssl_object").version() is None
        site.call(transport.write, b"nobody could read this")
        site.call(transport.close)
        site.call(transport.close)
        assert transport.is_closing()
        assert receive(client, 1) == b""
    assert awaited(site).told == ["made", "lost"]


def test_plain_bytes_end_the_connection(site: Site) -> None:
    """They are no handshake: the protocol gets the reason and none of the bytes."""
    with socket.create_connection(("127.0.0.1", site.port), timeout=PATIENCE) as client:
        client.sendall(b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02me")
        assert receive(client, 1) == b""
    recorder = awaited(site)
    assert recorder.told == ["made", "lost"]
    assert isinstance(recorder.error, ssl.SSLError)


def test_a_client_that_does_not_trust_the_certificate_ends_the_handshake(site: Site) -> None:
    """Its alert is the reason."""
    with pytest.raises(ssl.SSLCertVerificationError):
        site.connect(ssl.create_default_context())
    recorder = awaited(site)
    assert isinstance(recorder.error, ssl.SSLError)
    assert "UNKNOWN_CA" in recorder.error.reason


def test_bytes_that_are_no_record_end_the_connection(site: Site) -> None:
    """What came before them is handed on."""
    with site.connect() as client:
        client.sendall(b"good")
        assert receive(client, 4) == b"good"
        plain = socket.socket(fileno=client.detach())
    with plain:
        plain.settimeout(PATIENCE)
        plain.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
        assert receive(plain, 7).startswith(b"\x17\x03\x03")  # an alert, encrypted
    recorder = awaited(site)
    assert recorder.received == b"good"
    assert isinstance(recorder.error, ssl.SSLError)
    assert recorder.told == ["made", "data", "lost"]


def test_a_protocol_that_has_closed_is_not_told_of_a_fault_behind_it(site: Site) -> None:
    """Its end is its own."""
    site.reply = lambda recorder, _: recorder.transport.close()
    with MemoryClient(site) as client:
        client.until_done(client.tls.do_handshake)
        client.tls.write(b"close")
        client.append(b"\x17\x03\x03\x00\x20" + bytes(32))
        client.until_done(client.tls.unwrap)
    recorder = awaited(site)
    assert (recorder.told, recorder.error) == (["made", "data", "lost"], None)


@pytest.mark.parametrize("goodbye", [True, False], ids=["close_notify", "cut"])
def test_the_end_of_data_is_the_end(site: Site, goodbye: bool) -> None:
    """With the goodbye of TLS, which is answered, or without."""
    client = site.connect()
    client.sendall(b"last words")
    assert receive(client, 10) == b"last words"
    if goodbye:
        client.unwrap().close()
    else:
        client.shutdown(socket.SHUT_WR)
        client.close()
    recorder = awaited(site)
    assert (recorder.told, recorder.error) == (["made", "data", "eof", "lost"], None)


@pytest.mark.parametrize(("words", "told"), [(b"stay", ["data", "eof"]), (b"close", ["data"])])
def test_the_last_words_and_the_goodbye_come_together(site: Site, words: bytes, told: list[str]) -> None:
    """Data first, then the end; a protocol that closes at the data is told of no end beside it."""
    site.reply = lambda recorder, data: recorder.transport.close() if data == b"close" else None
    with MemoryClient(site) as client:
        client.until_done(client.tls.do_handshake)
        client.tls.write(words)
        client.until_done(client.tls.unwrap)
    assert awaited(site).told == ["made", *told, "lost"]


def test_who_does_not_read_why_tls_failed_is_cut_off(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else would: to the protocol the connection has not ended yet."""
    monkeypatch.setattr(tls_transport, "_ALERT_SECONDS", 0.01)
    site.reply = lambda *_: None
    with site.connect() as client:
        client.sendall(b"go")
        eventually(site, lambda: "data" in site.recorders[0].told)
        transport = site.recorders[0].transport
        while not site.call(transport.get_write_buffer_size):
            site.call(transport.write, b"x" * 100_000)
        with socket.socket(fileno=client.detach()) as plain:
            plain.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
            assert isinstance(awaited(site).error, ssl.SSLError)


def test_closing_lets_out_what_was_written(site: Site) -> None:
    """A million bytes to a client that begins to read only then, and the goodbye behind them."""

    def answer_and_close(recorder: Recorder, _: bytes) -> None:
        recorder.transport.write(b"x" * 1_000_000)
        recorder.transport.close()

    site.reply = answer_and_close
    with site.connect() as client:
        client.sendall(b"go")
        eventually(site, lambda: "data" in site.recorders[0].told)
        assert site.recorders[0].transport.is_closing()
        assert receive(client, 2_000_000) == b"x" * 1_000_000
        assert client.recv(1) == b"", "the end is not a cut line, which would be an error"
        site.call(site.recorders[0].transport.write, b"too late")


def test_who_has_said_goodbye_sends_no_more_and_is_told_what_comes(site: Site) -> None:
    """The client reads all that was written before, and the end, however much it still sends."""

    def leave(recorder: Recorder, _: bytes) -> None:
        if recorder.transport.can_write_eof():
            recorder.transport.write(b"goodbye")
            recorder.transport.write_eof()
            recorder.transport.write_eof()
            recorder.transport.write(b"too late")

    site.reply = leave
    with site.connect() as client:
        client.sendall(b"hello")
        eventually(site, lambda: bool(site.recorders) and site.recorders[0].received == b"hello")
        (recorder,) = site.recorders
        for _ in range(10):
            client.sendall(b"and more")
        assert receive(client, 7) == b"goodbye"
        assert client.recv(1) == b""
        eventually(site, lambda: len(recorder.received) > 5 + 10 * len(b"and more"))
    eventually(site, recorder.lost.is_set)
    assert b"more" not in recorder.received


def test_aborting_does_not_wait(site: Site) -> None:
    """The socket goes with what was written."""
    with site.connect() as client:
        client.sendall(b"hello")
        assert receive(client, 5) == b"hello"
        site.call(site.recorders[0].transport.abort)
        assert awaited(site).told == ["made", "data", "lost"]
        with pytest.raises((ssl.SSLError, ConnectionError)):
            receive(client, 1)


def test_a_slow_reader_is_told_to_the_writer(site: Site) -> None:
    """Its protocol pauses and resumes as on TCP, by the limits that it set."""
    site.reply = lambda *_: None
    with site.connect() as client:
        client.sendall(b"go")
        eventually(site, lambda: site.recorders[0].received == b"go")
        recorder = site.recorders[0]
        site.call(recorder.transport.set_write_buffer_limits, 1000, 10)
        assert recorder.transport.get_write_buffer_limits() == (10, 1000)
        written = 0
        while "pause" not in recorder.told:
            site.call(recorder.transport.write, b"x" * 100_000)
            written += 100_000
        assert recorder.transport.get_write_buffer_size() > 1000
        assert receive(client, written) == b"x" * written
        eventually(site, lambda: recorder.told[-1] == "resume")


def test_a_paused_protocol_gets_nothing(site: Site) -> None:
    """Until it reads again; TCP keeps the rest."""
    site.reply = lambda recorder, _: recorder.transport.pause_reading()
    with site.connect() as client, ThreadPoolExecutor(1) as pool:
        client.sendall(b"first")
        eventually(site, lambda: site.recorders[0].received == b"first")
        recorder = site.recorders[0]
        assert not recorder.transport.is_reading()
        sending = pool.submit(client.sendall, b"x" * 100_000)
        for _ in range(3):
            # Whatever of it is here already would have been handed on in these turns of the loop.
            site.run(asyncio.sleep(0))
        assert recorder.received == b"first"
        site.reply = lambda *_: None
        site.call(recorder.transport.resume_reading)
        assert recorder.transport.is_reading()
        sending.result(PATIENCE)
        eventually(site, lambda: len(recorder.received) == 100_005)


def test_a_protocol_may_hand_the_connection_to_streams(site: Site) -> None:
    """Which then serve it like any other."""
    streams: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    def hand_over(recorder: Recorder, data: bytes) -> None:
        reader = asyncio.StreamReader(loop=site.loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=site.loop)
        recorder.transport.set_protocol(protocol)
        assert recorder.transport.get_protocol() is protocol
        protocol.connection_made(recorder.transport)
        reader.feed_data(data)
        streams.append((reader, asyncio.StreamWriter(recorder.transport, protocol, reader, site.loop)))
        recorder.lost.set()  # the streams are told of it, not this one

    async def serve() -> bytes:
        reader, writer = streams[0]
        words = await reader.readexactly(10)
        writer.writelines([b"good", b"bye"])
        await writer.drain()
        rest = await reader.read()
        writer.close()
        await writer.wait_closed()
        return words + rest

    site.reply = hand_over
    with site.connect() as client:
        client.sendall(b"hello")
        eventually(site, lambda: bool(streams))
        assert streams[0][1].can_write_eof()
        client.sendall(b"world")
        serving = asyncio.run_coroutine_threadsafe(serve(), site.loop)
        assert receive(client, 7) == b"goodbye"
        client.unwrap().close()
        assert serving.result(PATIENCE) == b"helloworld"


def test_a_connection_that_has_ended_leaves_nothing_behind(site: Site) -> None:
    """Neither for the collector of garbage nor beyond: transport and protocol go when nobody holds them."""
    with site.connect() as client:
        client.sendall(b"hello")
        assert receive(client, 5) == b"hello"
    recorder = awaited(site)
    assert recorder.transport.get_protocol() is not recorder
