"""MQTT over TLS: real clients, strangers on the port, the change of the certificate."""

from __future__ import annotations

import contextlib
import json
import queue
import signal
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from enos_ingest.endpoint.packets import PacketType, encode_publish
from enos_ingest.protocol.credentials import Credentials
from enos_ingest.sockets import Bind
from tests.endpoint import inside
from tests.endpoint.raw import RawClient, connect_packet
from tests.endpoint.site import operator, resume, resume_topic
from tests.endpoint.tls_site import CA, OTHER_CA, Address, Files, TlsClient, refused, secure_address, trusting
from tests.endpoint.waiting import eventually
from tests.process import PATIENCE, running, sign_in, write_config

if TYPE_CHECKING:
    from enos_ingest.testing.hub import Hub


# Clients.


@contextlib.contextmanager
def paho(address: Bind, credentials: Credentials, topic: str) -> Iterator[tuple[Client, queue.SimpleQueue[Any]]]:
    """paho-mqtt over TLS, subscribed to a topic, with what it receives."""
    client = Client(CallbackAPIVersion.VERSION2, credentials.client_id, protocol=MQTTProtocolVersion.MQTTv311)
    client.username_pw_set(credentials.user_name, credentials.password)
    client.tls_set_context(trusting(CA))
    granted: queue.SimpleQueue[int] = queue.SimpleQueue()
    messages: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def on_connect(*_: object) -> None:
        client.subscribe(topic, 1)

    client.on_connect = on_connect
    client.on_subscribe = lambda *arguments: granted.put(arguments[3][0].value)
    client.on_message = lambda *arguments: messages.put(json.loads(arguments[2].payload))
    client.connect(address.host, address.port)
    client.loop_start()
    try:
        assert granted.get(timeout=PATIENCE) == 1
        yield client, messages
    finally:
        client.disconnect()
        client.loop_stop()
        client.reinitialise()


def test_paho_reports_over_tls(start: Callable[..., Hub]) -> None:
    """A device that trusts the authority, and an operator who watches, both over TLS."""
    hub = start()
    topic = resume_topic("alone")
    with (
        paho(secure_address(hub), operator("alice"), "/sys/#") as (_, watched),
        paho(secure_address(hub), hub.credentials("P/alone"), f"{topic}_reply") as (device, replies),
    ):
        device.publish(topic, resume(7), 1).wait_for_publish(PATIENCE)
        assert replies.get(timeout=PATIENCE) == {"id": "1", "code": 200, "data": {}}
        assert watched.get(timeout=PATIENCE)["params"]["measurepoints"] == {"n": 7}
        assert watched.get(timeout=PATIENCE)["code"] == 200
    assert [point.value for point in hub.points("P/alone")] == [7]


@pytest.mark.needs("mosquitto_pub")
def test_mosquitto_pub_reports_over_tls(start: Callable[..., Hub], tmp_path: Path) -> None:
    """With `--cafile`, as at a bench; with another authority it does not get that far."""
    hub = start()
    address = secure_address(hub)
    who = hub.credentials("P/alone")
    for ca in (CA, OTHER_CA):
        ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        arguments = ["-h", address.host, "-p", str(address.port), "--cafile", str(tmp_path / "ca.pem"), "-q", "1"]
        login = ["-i", who.client_id, "-u", who.user_name, "-P", who.password]
        done = subprocess.run(
            ["mosquitto_pub", *arguments, *login, "-t", resume_topic("alone"), "-m", resume(1).decode()],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        assert (done.returncode == 0) is (ca is CA), done.stderr
    assert [point.value for point in hub.points("P/alone")] == [1]
    eventually(lambda: refused(hub, "tls") == 1)


def test_long_and_many_messages_pass(start: Callable[..., Hub]) -> None:
    """A payload of many records, then many messages in few."""
    hub = start(message_bytes=1_000_000, packet_bytes=1_000_000)
    topic = resume_topic("alone")
    with TlsClient(secure_address(hub)) as client:
        assert client.connect(connect_packet(hub.credentials("P/alone"))) == 0
        client.publish(topic, resume("x" * 90_000, name="text") + b" " * 800_000)
        for first in range(1, 1001, 100):
            numbers = range(first, first + 100)
            client.send(*(encode_publish(topic, resume(each, time=each), qos=1, packet_id=each) for each in numbers))
            assert client.acknowledged(100) == list(numbers)
    assert len(hub.points("P/alone")) == 1001


def test_a_product_may_demand_tls(start: Callable[..., Hub]) -> None:
    """Its devices are not authorised on the plain port; others are welcome on both."""
    hub = start()
    for device, plain in (("T/careful", 5), ("P/alone", 0)):
        with RawClient(hub) as client:
            assert client.connect(connect_packet(hub.credentials(device))) == plain
        with TlsClient(secure_address(hub)) as client:
            assert client.connect(connect_packet(hub.credentials(device))) == 0
    assert refused(hub, "not_authorized") == 1


# Strangers.


def test_a_client_of_another_authority_goes_away(start: Callable[..., Hub]) -> None:
    """It is counted, and leaves no connection behind."""
    hub = start()
    with pytest.raises(ssl.SSLCertVerificationError):
        TlsClient(secure_address(hub), OTHER_CA)
    eventually(lambda: inside.accepted(hub) == 0)
    assert refused(hub, "tls") == 1


def test_plain_bytes_on_the_tls_port_are_refused(start: Callable[..., Hub]) -> None:
    """The CONNECT of a device that is not set up for TLS is not answered; nor is a handshake on the plain port."""
    hub = start()
    with RawClient(cast("Hub", secure_address(hub))) as client:
        client.send(connect_packet(hub.credentials("P/alone")))
        assert client.rest() == []
    eventually(lambda: refused(hub, "tls") == 1)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        TlsClient(Address(hub.host, hub.port))
    eventually(lambda: refused(hub, "malformed") == 1)
    eventually(lambda: inside.accepted(hub) == 0)


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["nothing", "a beginning"])
def test_a_handshake_that_is_never_made_is_not_waited_for(start: Callable[..., Hub], sent: bytes) -> None:
    """A stranger cannot hold a connection open."""
    hub = start(connect_seconds=0.2)
    with RawClient(cast("Hub", secure_address(hub))) as client:
        client.send(sent)
        assert client.rest() == []
    eventually(lambda: inside.accepted(hub) == 0)


def test_a_handshake_alone_does_not_keep_a_connection(start: Callable[..., Hub]) -> None:
    """CONNECT has to follow, within the same time."""
    hub = start(connect_seconds=0.5)
    # On a machine so slow that the handshake takes as long, its end is another one.
    with contextlib.suppress(ssl.SSLError, ConnectionError), TlsClient(secure_address(hub)) as client:
        assert client.rest() == []
    eventually(lambda: inside.accepted(hub) == 0)


def test_a_handshake_that_is_not_made_yet_takes_a_place(start: Callable[..., Hub]) -> None:
    """Strangers count as much as devices do; who is refused has cost no handshake."""
    hub = start(connections=1, connect_seconds=3600)
    with RawClient(cast("Hub", secure_address(hub))) as stranger:
        eventually(lambda: inside.accepted(hub) == 1)
        with RawClient(hub) as device:
            assert device.connect(connect_packet(hub.credentials("P/alone"))) == 3
        with pytest.raises((ssl.SSLError, ConnectionError)):
            TlsClient(secure_address(hub))
        assert refused(hub, "limit") == 2
        stranger.finish()
        eventually(lambda: inside.accepted(hub) == 0)
    with TlsClient(secure_address(hub)) as device:
        assert device.connect(connect_packet(hub.credentials("P/alone"))) == 0


# The change of a certificate.

PLANT = """
[[products]]
key = "EbxGvUrE"
[[devices]]
product = "EbxGvUrE"
key = "inv-1"
secret = "a-secret"
"""


def test_sighup_changes_the_certificate_of_new_connections(files: Files, tmp_path: Path) -> None:
    """Old ones go on; a pair that cannot be used changes nothing."""
    tls = "".join(f"{name.removeprefix('mqtt.')} = {json.dumps(value)}\n" for name, value in files.settings().items())
    config = write_config(tmp_path, PLANT, mqtt=f'bind = "127.0.0.1:0"\n{tls}')
    with running(config) as hub:
        host, _, port = str(hub.wait_for("listening")["tls"]).rpartition(":")
        address = Address(host, int(port))
        with TlsClient(address) as old:
            assert old.connect(connect_packet(sign_in("EbxGvUrE/inv-1", "a-secret"))) == 0
            files.write(OTHER_CA)
            hub.signal(signal.SIGHUP)
            hub.wait_for("certificate reloaded", level="info")
            with pytest.raises(ssl.SSLCertVerificationError):
                TlsClient(address)
            TlsClient(address, OTHER_CA).socket.close()
            files.key.write_text("not a key")
            hub.signal(signal.SIGHUP)
            line = hub.wait_for("the certificate cannot be used", level="error")
            assert line["error"] == f"mqtt.tls_key: {files.key} holds no private key as PEM"
            TlsClient(address, OTHER_CA).socket.close()
            old.publish("/sys/EbxGvUrE/inv-1/thing/measurepoint/resume", resume(1))
            assert old.message().topic.endswith("_reply")
            old.ping()


def test_connections_outlive_a_change_inside_their_handshake(start: Callable[..., Hub], files: Files) -> None:
    """Each keeps the certificate that it began with."""
    hub = start()
    address = secure_address(hub)
    with socket.create_connection((address.host, address.port), timeout=PATIENCE) as plain:
        eventually(lambda: inside.accepted(hub) == 1)
        files.write(OTHER_CA)
        inside.run_inside(hub, hub._service.reload_certificate)  # noqa: SLF001
        with trusting(CA).wrap_socket(plain, server_hostname="127.0.0.1") as secured:
            secured.sendall(connect_packet(hub.credentials("P/alone")))
            assert secured.recv(4) == bytes((PacketType.CONNACK << 4, 2, 0, 0))
