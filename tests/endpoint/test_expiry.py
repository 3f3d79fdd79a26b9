"""When a certificate expires, and who is told."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from enos_ingest.endpoint.expiry import expiry_of
from enos_ingest.endpoint.tls import ServerCertificate
from tests.endpoint.site import metric
from tests.endpoint.tls_site import CA, Files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from enos_ingest.testing.hub import Hub


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
