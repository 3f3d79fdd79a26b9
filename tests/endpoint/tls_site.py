"""TLS for tests of the endpoint: authorities, a hub's files, a client."""

from __future__ import annotations

import ssl
import urllib.request
from typing import TYPE_CHECKING, NamedTuple, cast

import trustme

from tests.endpoint.raw import RawClient

if TYPE_CHECKING:
    from pathlib import Path

    from enos_ingest.sockets import Bind
    from enos_ingest.testing.hub import Hub

__all__ = ["CA", "OTHER_CA", "Address", "Files", "TlsClient", "refused", "secure_address", "trusting"]

CA = trustme.CA()
OTHER_CA = trustme.CA()


class Files(NamedTuple):
    """A certificate and its key, as an operator has them."""

    certificate: Path
    key: Path

    def write(self, ca: trustme.CA) -> None:
        """Put a new certificate of an authority there."""
        leaf = ca.issue_cert("127.0.0.1", "localhost")
        self.certificate.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        self.key.write_bytes(leaf.private_key_pem.bytes())

    def settings(self) -> dict[str, object]:
        """What makes a hub serve TLS with them."""
        return {
            "mqtt.tls_bind": "127.0.0.1:0",
            "mqtt.tls_certificate": str(self.certificate),
            "mqtt.tls_key": str(self.key),
        }


class Address(NamedTuple):
    """Where a hub can be reached, in another way than its own."""

    host: str
    port: int


class TlsClient(RawClient):
    """The same over TLS."""

    def __init__(self, address: Bind | Address, ca: trustme.CA = CA) -> None:
        super().__init__(cast("Hub", Address(address.host, address.port)))
        self.socket = trusting(ca).wrap_socket(self.socket, server_hostname=address.host)


def trusting(ca: trustme.CA) -> ssl.SSLContext:
    """A client that trusts one authority."""
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


def secure_address(hub: Hub) -> Bind:
    """Where a hub serves TLS."""
    address = hub._service.tls_address  # noqa: SLF001
    assert address is not None
    return address


def refused(hub: Hub, reason: str) -> int:
    """How many connections were refused for a reason."""
    with urllib.request.urlopen(f"{hub.http_url}/metrics") as response:  # noqa: S310 - our own hub
        lines = response.read().decode().splitlines()
    name = f'enos_ingest_connections_refused_total{{reason="{reason}"}} '
    return int(float(next(line.removeprefix(name) for line in lines if line.startswith(name))))
