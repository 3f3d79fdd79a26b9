"""Certificates of clients: asked for or not, whose they are, and what is said of those that do not do."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
import trustme

from enos_ingest.endpoint.tls import ServerCertificate, common_names
from enos_ingest.errors import ConfigError
from enos_ingest.protocol.credentials import Credentials
from tests.endpoint.raw import RawClient, connect_packet
from tests.endpoint.site import MODELS, REGISTRY, operator
from tests.endpoint.tls_site import CA, OTHER_CA, Address, Files, secure_address, trusting
from tests.endpoint.waiting import eventually

if TYPE_CHECKING:
    from enos_ingest.testing import HubFactory
    from enos_ingest.testing.hub import Hub

CLIENTS = trustme.CA()
"""Who signs the certificates of this site's clients."""


def start(enos_hub: HubFactory, files: Files, tls_client: str) -> Hub:
    """A hub that asks clients for certificates."""
    authorities = files.certificate.with_name("clients.pem")
    authorities.write_bytes(CLIENTS.cert_pem.bytes())
    settings = {**files.settings(), "mqtt.tls_client": tls_client, "mqtt.tls_client_ca": str(authorities)}
    return enos_hub(registry=REGISTRY, models=MODELS, settings=settings)


class CertifiedClient(RawClient):
    """A client over TLS that shows a certificate with this common name, none for "".

    TLS 1.2 by default: there the handshake tells a client that is turned away; in TLS 1.3 it learns of it afterwards.
    """

    def __init__(self, hub: Hub, name: str, ca: trustme.CA = CLIENTS, *, newest: bool = False) -> None:
        address = secure_address(hub)
        super().__init__(cast("Hub", Address(address.host, address.port)))
        context = trusting(CA)
        if not newest:
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        if name:
            ca.issue_cert("client.example", common_name=name).configure_cert(context)
        try:
            self.socket = context.wrap_socket(self.socket, server_hostname="127.0.0.1")
        except BaseException:
            self.socket.close()
            raise


def connects(hub: Hub, name: str, who: Credentials, ca: trustme.CA = CLIENTS, *, newest: bool = False) -> int:
    """What CONNACK says."""
    with CertifiedClient(hub, name, ca, newest=newest) as client:
        return client.connect(connect_packet(who))


@pytest.mark.parametrize("newest", [False, True], ids=["TLS 1.2", "TLS 1.3"])
def test_a_certificate_names_its_device(
    enos_hub: HubFactory, files: Files, newest: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """By its key, or by both; another one's is refused, though the password is right. Operators may have any."""
    hub = start(enos_hub, files, "required")
    alone, channel = hub.credentials("P/alone"), hub.credentials("P/%channel%")
    for name in ("alone", "P.alone"):
        assert connects(hub, name, alone, newest=newest) == 0
    assert connects(hub, "P", channel, newest=newest) == 0
    assert connects(hub, "anybody", operator("alice"), newest=newest) == 0
    for name, who in (("other", alone), ("Q.alone", alone), ("P", alone), ("alone", channel)):
        assert connects(hub, name, who, newest=newest) == 5
    assert "the certificate of other is not for P/alone (745)" in caplog.text
    assert connects(hub, "alone", Credentials(alone.client_id, alone.user_name, "guess"), newest=newest) == 4


@pytest.mark.parametrize("tls_client", ["optional", "required"])
def test_a_stranger_s_certificate_ends_the_handshake(
    enos_hub: HubFactory, files: Files, tls_client: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One that somebody else has signed, however it is asked for."""
    hub = start(enos_hub, files, tls_client)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        connects(hub, "alone", hub.credentials("P/alone"), OTHER_CA)
    eventually(lambda: "the client's certificate is not one of mqtt.tls_client_ca" in caplog.text)


def test_a_client_without_a_certificate(enos_hub: HubFactory, files: Files, caplog: pytest.LogCaptureFixture) -> None:
    """Is turned away where one is required."""
    hub = start(enos_hub, files, "required")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        connects(hub, "", hub.credentials("P/alone"))
    eventually(lambda: "the client showed no certificate" in caplog.text)
    with RawClient(hub) as plain:
        assert plain.connect(connect_packet(hub.credentials("P/alone"))) == 0


def test_a_certificate_may_be_left_out(enos_hub: HubFactory, files: Files) -> None:
    """Where it is optional; one that is shown has to be right all the same."""
    hub = start(enos_hub, files, "optional")
    assert connects(hub, "", hub.credentials("P/alone")) == 0
    assert connects(hub, "alone", hub.credentials("P/alone")) == 0
    assert connects(hub, "other", hub.credentials("P/alone")) == 5


def test_other_authorities_are_read_again(files: Files, tmp_path: Path) -> None:
    """A file that cannot be used leaves those in force that were."""
    authorities = tmp_path / "clients.pem"
    CLIENTS.cert_pem.write_to_path(authorities)
    certificate = ServerCertificate(files.certificate, files.key, authorities, client_required=True)
    first = certificate.context
    assert first.verify_mode is ssl.CERT_REQUIRED
    OTHER_CA.cert_pem.write_to_path(authorities)
    certificate.reload()
    assert certificate.context.get_ca_certs() != first.get_ca_certs()
    second = certificate.context
    for content, said in (
        ("", "holds no certificate as PEM"),
        ("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n", "cannot be used"),
    ):
        authorities.write_text(content)
        with pytest.raises(ConfigError, match=f"mqtt.tls_client_ca: .*{said}"):
            certificate.reload()
    authorities.unlink()
    with pytest.raises(ConfigError, match=r"mqtt.tls_client_ca: there is no file"):
        certificate.reload()
    assert certificate.context is second


def test_a_subject_may_hold_several_names_or_none() -> None:
    """Each counts."""
    subject = ((("countryName", "DE"),), (("commonName", "a"),), (("commonName", "b"),))
    assert common_names({"subject": subject}) == ("a", "b")
    assert common_names({}) == ()
