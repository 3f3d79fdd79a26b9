"""Strangers: who takes one port for another, handshakes all at once; and a certificate at its end."""

from __future__ import annotations

import asyncio
import ssl
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from enos_ingest.endpoint.expiry import expiry_of
from enos_ingest.endpoint.handshakes import Handshakes, TooManyHandshakesError
from enos_ingest.endpoint.tls import ServerCertificate
from tests.endpoint import inside
from tests.endpoint.raw import RawClient, connect_packet
from tests.endpoint.site import metric
from tests.endpoint.test_tls import CA, OTHER_CA, Address, Files, TlsClient, files, refused, secure_address, start
from tests.endpoint.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from enos_ingest.testing.hub import Hub

__all__ = ["files", "start"]


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
        time.sleep(self.seconds)
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


# When a certificate expires.


def certificate(path: Path, expires: datetime) -> Files:
    """A certificate that is valid until then."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x" * 60)])
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(1960, 1, 1, tzinfo=UTC))
        .not_valid_after(expires)
        .sign(key, hashes.SHA256())
    )
    files = Files(path / "hub.pem", path / "hub.key")
    pem = serialization.Encoding.PEM
    files.certificate.write_bytes(b"what it is for\n" + built.public_bytes(pem))
    form, encryption = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    files.key.write_bytes(key.private_bytes(pem, form, encryption))
    return files


@pytest.mark.parametrize("year", [1970, 1999, 2026, 2049, 2050, 2999])
def test_the_expiry_of_a_certificate_is_read(tmp_path: Path, year: int) -> None:
    """Both forms of times, and the certificate alone: what leads to its root is not looked at."""
    expires = datetime(year, 2, 3, 4, 5, 6, tzinfo=UTC)
    text = certificate(tmp_path, expires).certificate.read_text()
    assert expiry_of(text) == expires
    assert expiry_of(text + CA.cert_pem.bytes().decode()) == expires


def test_the_expiry_of_a_certificate_of_the_first_version_is_read() -> None:
    """It does not say its version."""

    def element(tag: int, content: bytes) -> bytes:
        return bytes((tag, len(content))) + content

    times = b"".join(element(0x17, text) for text in (b"700101000000Z", b"300203040506Z"))
    head = element(0x02, b"\1") + element(0x30, b"") + element(0x30, b"")
    der = element(0x30, element(0x30, head + element(0x30, times)))
    assert expiry_of(ssl.DER_cert_to_PEM_cert(der)) == datetime(2030, 2, 3, 4, 5, 6, tzinfo=UTC)


@given(st.binary(max_size=60))
def test_anything_but_a_certificate_is_refused(junk: bytes) -> None:
    """As a fault in a value, whatever it is."""
    with pytest.raises(ValueError, match=r"."):
        expiry_of(ssl.DER_cert_to_PEM_cert(junk))


@given(st.data())
def test_a_certificate_with_a_piece_missing_is_refused(data: st.DataObject) -> None:
    """Wherever it ends."""
    der = ssl.PEM_cert_to_DER_cert(CA.cert_pem.bytes().decode())
    cut = data.draw(st.integers(0, len(der) - 1))
    with pytest.raises(ValueError, match="ends inside an element"):
        expiry_of(ssl.DER_cert_to_PEM_cert(der[:cut]))


def test_without_a_mark_there_is_no_certificate() -> None:
    """As in a key file."""
    with pytest.raises(ValueError, match="not found"):
        expiry_of("-----BEGIN PRIVATE KEY-----")


@pytest.mark.parametrize(
    ("days", "said"), [(-1, "the certificate has expired"), (13, "the certificate expires soon"), (15, "")]
)
def test_a_certificate_at_its_end_is_told_of_at_start_and_reload(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, days: int, said: str
) -> None:
    """Clients will not connect any more: the hub is the last to notice by itself."""
    expires = (datetime.now(UTC) + timedelta(days=days)).replace(microsecond=0)
    served = ServerCertificate(*certificate(tmp_path, expires))
    assert served.expires == expires
    assert [record.levelname for record in caplog.records] == (["WARNING"] if said else [])
    caplog.clear()
    served.reload()
    assert said in caplog.text
    assert bool(said) == bool(caplog.records)


def test_the_expiry_of_the_certificate_is_a_metric(start: Callable[..., Hub], files: Files) -> None:
    """So that an alarm can be set on it."""
    hub = start()
    expires = expiry_of(files.certificate.read_text())
    assert metric(hub, "enos_ingest_certificate_expires_seconds") == expires.timestamp()
