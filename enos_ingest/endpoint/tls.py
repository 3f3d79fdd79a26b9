"""The hub's certificate: loaded with clear faults, and replaced while the hub runs."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from enos_ingest.endpoint.expiry import expiry_of
from enos_ingest.endpoint.handshakes import Handshakes
from enos_ingest.endpoint.tls_transport import TlsTransport
from enos_ingest.errors import ConfigError
from enos_ingest.logs import get_logger

__all__ = ["ServerCertificate", "common_names", "in_words"]

log = get_logger(__name__)

_SOON = timedelta(days=14)
"""Time enough to get a new certificate by hand; those that are renewed by a program are by then."""


class ServerCertificate:
    """A certificate with its key, and what is served with it.

    Args:
        certificate: a PEM file, the hub's own certificate first.
        key: the PEM file of its private key.
        client_ca: a PEM file of those who sign the certificates of clients; None where none is asked for.
        client_required: whether a client that shows none is turned away.

    Raises:
        ConfigError: a file that is not there or cannot be used, or two that do not belong together.

    Attributes:
        context: TLS as it is now, for new connections; those that stand keep the context they began with.
        expires: the end of the certificate's validity; None where that cannot be read.
    """

    def __init__(
        self, certificate: Path, key: Path, client_ca: Path | None = None, *, client_required: bool = False
    ) -> None:
        self._certificate = certificate
        self._key = key
        self._client_ca = client_ca
        self._client_required = client_required
        self.context = self._load()
        self.expires = self._look_at_expiry()

    def reload(self) -> None:
        """Read all files again; raises ConfigError, and then what was in force stays."""
        # A context of its own, not the one in force: of two files that are being replaced it could take one.
        self.context = self._load()
        self.expires = self._look_at_expiry()

    def secure(self, protocol: asyncio.Protocol, handshakes: Handshakes) -> TlsTransport:
        """What to give a server in place of `protocol`: TLS with the certificate of now, in front of it."""
        return TlsTransport(self.context, protocol, handshakes)

    def _load(self) -> ssl.SSLContext:
        context = _load(self._certificate, self._key)
        if self._client_ca is not None:
            _trust(context, self._client_ca)
            context.verify_mode = ssl.CERT_REQUIRED if self._client_required else ssl.CERT_OPTIONAL
        return context

    def _look_at_expiry(self) -> datetime | None:
        """When the certificate expires; says so where that is soon or was: clients will not connect any more."""
        try:
            expires = expiry_of(self._certificate.read_text("ascii", "replace"))
        except (OSError, ValueError) as error:
            log.warning("cannot see when the certificate expires", file=str(self._certificate), error=str(error))
            return None
        left = expires - datetime.now(UTC)
        if left < timedelta(0):
            log.warning("the certificate has expired", file=str(self._certificate), at=str(expires))
        elif left < _SOON:
            log.warning("the certificate expires soon", file=str(self._certificate), at=str(expires), days=left.days)
        return expires


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
        if not isinstance(error, ssl.SSLError):
            reason = error.strerror
        else:
            reason = in_words(error) if error.reason else "broken PEM"
        raise ConfigError(
            f"mqtt.tls_certificate, mqtt.tls_key: {certificate} and {key} cannot be used: {reason}"
        ) from error
    return context


def _trust(context: ssl.SSLContext, file: Path) -> None:
    """Have certificates of clients checked against the authorities in a file."""
    _look_for(file, "mqtt.tls_client_ca", b"-----BEGIN CERTIFICATE-----", "certificate")
    try:
        context.load_verify_locations(file)
    except (ssl.SSLError, OSError) as error:
        reason = in_words(error) if isinstance(error, ssl.SSLError) and error.reason else "broken PEM"
        raise ConfigError(f"mqtt.tls_client_ca: {file} cannot be used: {reason}") from error


def common_names(certificate: Mapping[str, Any]) -> tuple[str, ...]:
    """The common names in the subject of a certificate, as `ssl` gives it."""
    subject = certificate.get("subject", ())
    return tuple(value for part in subject for name, value in part if name == "commonName")


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


_WORDS = {
    "HTTP_REQUEST": "the client spoke HTTP",
    "WRONG_VERSION_NUMBER": "the client did not speak TLS",
    "RECORD_LAYER_FAILURE": "the client did not speak TLS",
    "PACKET_LENGTH_TOO_LONG": "the client did not speak TLS",
    "UNSUPPORTED_PROTOCOL": "the client asked for a version older than TLS 1.2",
    "NO_SHARED_CIPHER": "the client and the certificate have no cipher in common",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the client showed no certificate, and mqtt.tls_client wants one",
    "CERTIFICATE_VERIFY_FAILED": "the client's certificate is not one of mqtt.tls_client_ca, or not valid now",
    "TLSV1_ALERT_UNKNOWN_CA": "the client does not trust the certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the client does not accept the certificate",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "the client does not accept the certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the client takes the certificate for expired: it is, or a clock is wrong",
}
"""What OpenSSL's reasons mean to an operator."""


def in_words(error: ssl.SSLError) -> str:
    """What went wrong, as OpenSSL tells it, without its places in source files."""
    reason = error.reason or "no reason given"
    return _WORDS.get(reason) or reason.replace("_", " ").lower()
