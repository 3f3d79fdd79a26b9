"""The hub's certificate: its faults, its change."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization

from enos_ingest.endpoint.tls import ServerCertificate
from enos_ingest.errors import ConfigError
from tests.endpoint.tls_site import OTHER_CA, Files

if TYPE_CHECKING:
    from enos_ingest.testing import HubFactory


def fault(files: Files) -> str:
    """What is said about two files, which must be one sentence."""
    with pytest.raises(ConfigError) as caught:
        ServerCertificate(*files)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_that_cannot_be_read_is_named_with_its_setting(files: Files) -> None:
    """One that is not there, and one that is none."""
    gone = files.key.with_name("gone")
    assert fault(Files(gone, files.key)) == f"mqtt.tls_certificate: there is no file {gone}"
    assert fault(Files(files.certificate, gone)) == f"mqtt.tls_key: there is no file {gone}"
    folder = files.key.parent
    assert fault(Files(folder, files.key)) == f"mqtt.tls_certificate: cannot read {folder}: Is a directory"


def test_files_of_another_kind_are_named_with_their_setting(files: Files) -> None:
    """Nothing, or each in the place of the other."""
    swapped = Files(files.key, files.certificate)
    assert fault(swapped) == f"mqtt.tls_certificate: {files.key} holds no certificate as PEM"
    assert fault(Files(files.certificate, files.certificate)) == (
        f"mqtt.tls_key: {files.certificate} holds no private key as PEM"
    )
    files.certificate.write_bytes(b"")
    assert fault(files) == f"mqtt.tls_certificate: {files.certificate} holds no certificate as PEM"


def test_a_key_of_another_certificate_is_refused(files: Files) -> None:
    """With both files named."""
    stranger = files.key.with_name("other.key")
    stranger.write_bytes(OTHER_CA.issue_cert("127.0.0.1").private_key_pem.bytes())
    assert fault(Files(files.certificate, stranger)) == (
        f"mqtt.tls_key: {stranger} is not the key of the certificate {files.certificate}"
    )


@pytest.mark.parametrize("form", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL])
def test_an_encrypted_key_is_refused(files: Files, form: serialization.PrivateFormat) -> None:
    """Nobody is asked for its passphrase, even one that has none of it."""
    for passphrase in (b"secret", b" "):
        key = serialization.load_pem_private_key(files.key.read_bytes(), None)
        encryption = serialization.BestAvailableEncryption(passphrase)
        locked = files.key.with_name("locked.key")
        locked.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, encryption))
        said = f"mqtt.tls_key: {locked} is encrypted: the hub needs it without a passphrase"
        assert fault(Files(files.certificate, locked)) == said


def test_a_file_with_a_broken_inside_is_refused(files: Files) -> None:
    """OpenSSL does not say which of the two it is."""
    text = files.certificate.read_bytes()
    files.certificate.write_bytes(text[:100] + b"!" + text[101:])
    assert fault(files).startswith(
        f"mqtt.tls_certificate, mqtt.tls_key: {files.certificate} and {files.key} cannot be used: "
    )


def test_a_reload_takes_both_files_or_neither(files: Files) -> None:
    """What was in force stays while the files do not fit each other."""
    served = ServerCertificate(*files)
    before = served.context
    old_key = files.key.read_bytes()
    files.write(OTHER_CA)
    new_key = files.key.read_bytes()
    files.key.write_bytes(old_key)
    with pytest.raises(ConfigError, match="is not the key of the certificate"):
        served.reload()
    assert served.context is before
    files.key.write_bytes(new_key)
    served.reload()
    assert served.context is not before


def test_old_versions_and_endless_handshakes_are_off(files: Files) -> None:
    """TLS 1.2 is the least; on one connection there is one handshake."""
    context = ServerCertificate(*files).context
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.verify_mode is ssl.CERT_NONE


def test_a_hub_without_its_certificate_does_not_start(enos_hub: HubFactory, files: Files) -> None:
    """It says so, in the sentence of the certificate."""
    files.key.unlink()
    with pytest.raises(ConfigError, match=r"mqtt\.tls_key: there is no file"):
        enos_hub(settings=files.settings())
