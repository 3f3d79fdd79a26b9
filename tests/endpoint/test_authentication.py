"""CONNECT and what CONNACK answers; who is refused leaves no trace."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from enos_ingest.endpoint.packets import Connect, encode_connect
from enos_ingest.protocol.credentials import Credentials, make_credentials, sign
from enos_ingest.protocol.identity import Channel, DeviceId
from enos_ingest.testing.hub import Hub, run_hub
from tests.endpoint import inside
from tests.endpoint.raw import RawClient, connect_packet
from tests.endpoint.site import MODELS, REGISTRY, metric, operator
from tests.endpoint.waiting import eventually


def device(key: str, secret: str = "", product: str = "P") -> Credentials:
    """A device's credentials, by default with its right secret."""
    return make_credentials(DeviceId(product, key), secret or f"{key}-secret", 1700000000000)


def channel(product: str = "P", secret: str = "PSecret") -> Credentials:  # noqa: S107
    """A channel's credentials."""
    return make_credentials(Channel(product), secret, 1700000000000)


def with_mode(mode: int) -> bytes:
    """A CONNECT of a device in another secure mode, signed rightly."""
    made = device("alone", "PSecret" if mode != 2 else "")
    return connect_packet(made, client_id=made.client_id.replace("securemode=2", f"securemode={mode}"))


def with_will(topic: str, who: Credentials) -> bytes:
    """A CONNECT with a will."""
    return connect_packet(who, will=(topic, b"gone"))


def with_protocol(name: bytes, level: int) -> bytes:
    """A CONNECT of another version."""
    body = len(name).to_bytes(2) + name + bytes((level, 2)) + b"\x00\x3c" + b"\x00\x01a"
    return bytes((0x10, len(body))) + body


def unnamed_with_sha1() -> bytes:
    """A CONNECT that names no sign method, signed as the Java SDK then does."""
    password = sign("alone-secret", "clientIdciddeviceKeyaloneproductKeyPtimestamp1", "sha1")
    return connect_packet(Credentials("cid|securemode=2,timestamp=1|", "alone&P", password))


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    """One hub for all: who is refused leaves no trace, who is accepted goes again."""
    with run_hub(registry=REGISTRY, models=MODELS) as running:
        yield running


ACCEPTED = {
    "device": connect_packet(device("alone")),
    "gateway": connect_packet(device("gw")),
    "device with a session to keep": connect_packet(device("alone"), clean_session=False),
    "device with a will": with_will("/sys/P/other/thing/measurepoint/resume", device("alone")),
    "device without a sign method": unnamed_with_sha1(),
    "channel": connect_packet(channel()),
    "operator": connect_packet(operator("alice")),
    "operator with a client id": connect_packet(operator("alice"), client_id="bench", clean_session=False),
    "operator with a will": with_will("plant/gone", operator("writer")),
}

REFUSED = {
    "MQTT 3.1": (with_protocol(b"MQIsdp", 3), 1),
    "MQTT 5": (with_protocol(b"MQTT", 5), 1),
    "no client id to keep a session for": (connect_packet(operator("alice"), clean_session=False), 2),
    "client id without a block": (connect_packet(device("alone"), client_id="alone"), 2),
    "client id without a timestamp": (connect_packet(device("alone"), client_id="alone|securemode=2|"), 2),
    "client id with securemode 5": (with_mode(5), 2),
    "empty client id of a device": (connect_packet(device("alone"), client_id=""), 2),
    "channel without a block": (connect_packet(channel(), client_id="P"), 2),
    "unknown device": (connect_packet(device("nobody")), 4),
    "device of another product": (connect_packet(device("alone", product="Q")), 4),
    "wrong secret": (connect_packet(device("alone", "wrong")), 4),
    "signature of another device": (
        connect_packet(Credentials(device("alone").client_id, "alone&P", device("other").password)),
        4,
    ),
    "no password": (
        encode_connect(Connect(device("alone").client_id, True, 0, "alone&P", None, None, b"", 0, False)),
        4,
    ),
    "password that is no text": (
        encode_connect(Connect(device("alone").client_id, True, 0, "alone&P", b"\xff", None, b"", 0, False)),
        4,
    ),
    "wrong product secret": (connect_packet(channel(secret="wrong")), 4),
    "channel of an unknown product": (connect_packet(channel("X")), 4),
    "channel of a product without a secret": (connect_packet(channel("Q", "x")), 4),
    "wrong operator password": (connect_packet(Credentials("", "alice", "wrong")), 4),
    "unknown operator": (connect_packet(Credentials("", "mallory", "alice-password")), 4),
    "no operator": (connect_packet(Credentials("", "", "x")), 4),
    "the hub's own name": (connect_packet(Credentials("", "%hub%", "guess")), 4),
    "user name with two ampersands": (connect_packet(Credentials("c", "a&b&c", "x")), 4),
    "user name without a key": (connect_packet(Credentials("c", "&P", "x")), 4),
    "disabled device": (connect_packet(device("off")), 5),
    "anonymous": (connect_packet(), 5),
    "securemode 3": (with_mode(3), 5),
    "securemode 4 of a device": (with_mode(4), 5),
    "securemode 2 of a channel": (
        connect_packet(channel(), client_id=channel().client_id.replace("securemode=4", "securemode=2")),
        5,
    ),
    "will of a reader": (with_will("plant/gone", operator("reader")), 5),
    "will that commands a device": (with_will("/sys/P/alone/thing/service/measurepoint/set", operator("alice")), 5),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_who_shows_good_credentials_is_let_in(hub: Hub, case: str) -> None:
    """And known by the hub for as long as the connection lasts."""
    with RawClient(hub) as client:
        assert client.connect(ACCEPTED[case]) == 0
        client.ping()
        assert inside.connections(hub) == 1
    eventually(lambda: traces(hub) == NOTHING)


NOTHING = (0, 0, (1, 1))
"""The hub's own subscriber is the one session."""


def traces(hub: Hub) -> tuple[int, int, tuple[int, int]]:
    """All that remembers a connection."""
    return inside.connections(hub), inside.online(hub), inside.sessions(hub)


@pytest.mark.parametrize("case", REFUSED)
def test_who_is_refused_gets_a_code_and_leaves_no_trace(hub: Hub, case: str) -> None:
    """Nothing but the count of refusals: no session, no presence, no connection."""
    sent, code = REFUSED[case]
    eventually(lambda: traces(hub) == NOTHING)
    refused = metric(hub, "enos_ingest_connections_refused_total")
    with RawClient(hub) as client:
        assert client.connect(sent) == code
        assert client.receive() is None
        assert traces(hub) == NOTHING
    assert metric(hub, "enos_ingest_connections_refused_total") == refused + 1
    assert traces(hub) == NOTHING


@pytest.mark.parametrize(
    "sent",
    [
        b"\xc0\x00",
        b"\x30\x03\x00\x01a",
        b"\x11" + connect_packet(device("alone"))[1:],
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x10\xff\xff\xff\xff\x01",
        b"\x10\x00",
        connect_packet(device("alone")).replace(b"\x04MQTT\x04\xc2", b"\x04MQTT\x04\xc3"),
        connect_packet(device("alone"))[:-1],
    ],
    ids=["PINGREQ", "PUBLISH", "flags", "HTTP", "TLS", "endless length", "empty", "reserved flag", "cut off"],
)
def test_a_first_packet_that_is_no_connect_is_not_answered(hub: Hub, sent: bytes) -> None:
    """The connection is closed. [MQTT-3.1.0-1]"""
    with RawClient(hub) as client:
        client.send(sent)
        client.finish()
        assert client.rest() == []
    assert traces(hub) == NOTHING


def test_a_device_that_is_not_known_takes_nothing_from_one_that_is(hub: Hub) -> None:
    """Knowing a client id is not enough to end a connection."""
    good = device("alone")
    with RawClient(hub) as client, RawClient(hub) as stranger:
        assert client.connect(connect_packet(good)) == 0
        assert stranger.connect(connect_packet(replace(good, password="0" * 64))) == 4
        client.ping()


def test_anonymous_clients_are_operators_where_that_is_allowed() -> None:
    """They read and write; a name or a device still needs its credentials."""
    with run_hub(registry=REGISTRY, models=MODELS, settings={"security.anonymous": "true"}) as hub:
        with RawClient(hub) as client:
            assert client.connect(connect_packet()) == 0
            assert client.subscribe("#") == [0]
        for case in ("wrong operator password", "unknown operator", "wrong secret", "no operator"):
            sent, code = REFUSED[case]
            with RawClient(hub) as client:
                assert client.connect(sent) == code
