"""The hub's certificate: loaded with clear faults, and replaced while the hub runs."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

from enos_ingest.endpoint.tls_transport import TlsTransport
from enos_ingest.errors import ConfigError

__all__ = ["ServerCertificate"]


class ServerCertificate:
    """A certificate with its key, and what is served with it.

    Args:
        certificate: a PEM file, the hub's own certificate first.
        key: the PEM file of its private key.

    Raises:
        ConfigError: a file that is not there or cannot be used, or two that do not belong together.

    Attributes:
        context: TLS as it is now, for new connections; those that stand keep the context they began with.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._certificate = certificate
        self._key = key
        self.context = _load(certificate, key)

    def reload(self) -> None:
        """Read both files again; raises ConfigError, and then what was in force stays."""
        # A context of its own, not the one in force: of two files that are being replaced it could take one.
        self.context = _load(self._certificate, self._key)

    def secure(self, protocol: asyncio.Protocol) -> TlsTransport:
        """What to give a server in place of `protocol`: TLS with the certificate of now, in front of it."""
        return TlsTransport(self.context, protocol)


def _load(certificate: Path, key: Path) -> ssl.SSLContext:
    _look_for(certificate, "mqtt.tls_certificate", b"-----BEGIN CERTIFICATE-----", "certificate")
    _look_for(key, "mqtt.tls_key", b"PRIVATE KEY-----", "private key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A client of TLS 1.2 could ask for one expensive handshake after the other on its one connection.
    context.options |= ssl.OP_NO_RENEGOTIATION
    asked: list[bool] = []

    def passphrase() -> str:
        # Without this OpenSSL would ask whoever sits at the terminal.
        asked.append(True)
        return ""

    try:
        context.load_cert_chain(certificate, key, passphrase)
    except (ssl.SSLError, OSError) as error:
        if asked:
            raise ConfigError(f"mqtt.tls_key: {key} is encrypted: the hub needs it without a passphrase") from None
        if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigError(f"mqtt.tls_key: {key} is not the key of the certificate {certificate}") from None
        reason = getattr(error, "reason", None) or error.strerror or "broken PEM"
        raise ConfigError(
            f"mqtt.tls_certificate, mqtt.tls_key: {certificate} and {key} cannot be used: {_in_words(reason)}"
        ) from error
    return context


def _look_for(file: Path, setting: str, mark: bytes, noun: str) -> None:
    """See that a file can be read and holds something of its kind: OpenSSL would not say which of two is at fault."""
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{setting}: there is no file {file}") from None
    except OSError as error:
        raise ConfigError(f"{setting}: cannot read {file}: {error.strerror}") from error
    if mark not in content:
        raise ConfigError(f"{setting}: {file} holds no {noun} as PEM")


def _in_words(reason: str) -> str:
    """What OpenSSL calls `EE_KEY_TOO_SMALL`."""
    return reason.replace("_", " ").lower()
