"""Dynamic activation: a device comes with its product's secret, is told its own, and comes again with that."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from enos_ingest.endpoint import activation as activation_module
from enos_ingest.endpoint.packets import PacketType, Publish, encode_publish
from enos_ingest.protocol.compression import Compression, decompress
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.testing.hub import Hub, run_hub
from tests.endpoint import inside
from tests.endpoint.activation_site import REGISTRY, activated, login, mode_2, mode_3
from tests.endpoint.raw import DISCONNECT, PINGREQ, RawClient, connect_packet, subscribe_packet
from tests.endpoint.site import MODELS, metric, operator, resume
from tests.endpoint.waiting import eventually

INFO = "/ext/session/P/new/thing/activate/info"


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A hub for each test: what is activated stays so."""
    with run_hub(registry=REGISTRY, models=MODELS) as running:
        yield running


def test_a_device_is_told_its_secret_and_comes_again_with_it(hub: Hub) -> None:
    """In the documented form, without a subscription, in one copy; the secret is made, and stored."""
    with RawClient(hub) as client:
        said, told = activated(client, mode_3("P", "new"))
        assert (said.topic, said.qos) == (INFO, 1)
        secret = told["params"]["deviceSecret"]
        assert told == {
            "id": told["id"],
            "version": "1.0",
            "method": "thing.activate.info",
            "params": {
                "assetId": hub.directory.devices[DeviceId("P", "new")].asset_id,
                "productKey": "P",
                "deviceKey": "new",
                "deviceSecret": secret,
            },
        }
        assert told["id"].isdigit()
        assert len(secret) == 32
        client.acknowledge(PacketType.PUBACK, said.packet_id)
        client.publish(f"{INFO}_reply", orjson.dumps({"id": told["id"], "code": 200}))
        client.send(DISCONNECT)
        assert client.rest() == []
    with RawClient(hub) as client:
        assert client.connect(connect_packet(mode_2("P", "new", secret))) == 0
        client.publish("/sys/P/new/thing/measurepoint/resume", resume(1))
        assert orjson.loads(client.message().payload)["code"] == 200
    with RawClient(hub) as client:
        assert client.connect(connect_packet(mode_2("P", "new", ""))) == 4
    with pytest.raises(LookupError, match="P/sub cannot sign in: it has no secret yet"):
        hub.credentials("P/sub")


@pytest.mark.parametrize(
    "unheard",
    [b'{"id":"1","code":1101,"message":"downstream command handler not registered"}', b"[]", b"{", b" " * 5000],
    ids=["1101", "no object", "no JSON", "too long"],
)
def test_a_device_that_does_not_say_that_it_has_its_secret_is_told_again(
    hub: Hub, unheard: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Java SDK registers who takes it after CONNECT, and answers 1101 before. It is told four times at the most."""
    monkeypatch.setattr(activation_module, "_TELL_SECONDS", (0.01, 0.02, 0.03, 3600.0))
    with RawClient(hub) as client:
        first, told = activated(client, mode_3("P", "new"))
        client.send(encode_publish(f"{INFO}_reply", unheard))
        again = [client.message() for _ in range(2)]
        assert [each.packet_id for each in (first, *again)] == [1, 2, 3]
        assert {each.payload for each in again} == {first.payload}
        (session,) = inside.listener(hub).sessions._activating.values()  # noqa: SLF001

        def is_waiting() -> bool:
            timer = session._timer  # noqa: SLF001
            return timer is not None and not timer.cancelled()

        assert is_waiting()
        client.send(encode_publish(f"{INFO}_reply", orjson.dumps({"id": told["id"], "code": 200})))
        client.ping()
        assert not is_waiting()
        client.send(DISCONNECT)
        assert client.rest() == []


def test_the_secret_outlives_the_hub(enos_hub: Any) -> None:
    """It is on disk before it is told, and so is that the device is activated."""
    hub = enos_hub(registry=REGISTRY, models=MODELS)
    with RawClient(hub) as client:
        secret = activated(client, mode_3("P", "new"))[1]["params"]["deviceSecret"]
    hub.stop()
    hub.start()
    with RawClient(hub) as client:
        assert client.connect(connect_packet(mode_3("P", "new"))) == 5
    with RawClient(hub) as client:
        assert client.connect(connect_packet(mode_2("P", "new", secret))) == 0


def test_a_declared_secret_is_the_one_that_is_told(hub: Hub) -> None:
    """Else the registry file and the device would contradict each other."""
    with RawClient(hub) as client:
        assert activated(client, mode_3("P", "known"))[1]["params"]["deviceSecret"] == "known-secret"


REFUSED = {
    "the product does not allow it": (mode_3("N", "plain"), 5, "product N does not allow dynamic activation (770)"),
    "an unknown device": (mode_3("P", "nobody"), 4, "unknown device P/nobody"),
    "a device of an unknown product": (mode_3("X", "new", "x"), 4, "unknown device X/new"),
    "the secret of another product": (mode_3("P", "new", "ASecret"), 4, "wrong signature P/new"),
    "its own secret": (mode_3("P", "known", "known-secret"), 4, "wrong signature P/known"),
    "the product's secret in the usual mode": (mode_2("P", "known", "PSecret"), 4, "wrong signature P/known"),
    "no secret yet": (mode_2("P", "new", "guess"), 4, "wrong signature P/new"),
    "a disabled device": (mode_3("P", "off"), 5, "device P/off is disabled"),
    "not over TLS": (mode_3("T", "careful"), 5, "T/careful must connect with TLS"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_who_may_not_is_refused_with_one_line(hub: Hub, case: str, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is changed; the line has EnOS's code where there is one."""
    who, code, said = REFUSED[case]
    with RawClient(hub) as client:
        assert client.connect(connect_packet(who)) == code
        assert client.rest() == []
    lines = [record.getMessage() for record in caplog.records if said in record.getMessage()]
    assert len(lines) == 1
    assert inside.store(hub).committed_records == 0


def test_a_device_is_activated_once(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    """Whether the first time was with the product's secret, or its own."""
    with RawClient(hub) as first, RawClient(hub) as second:
        activated(first, mode_3("P", "new"))
        assert second.connect(connect_packet(mode_3("P", "new"))) == 5
        first.ping()
    with RawClient(hub) as client:
        assert client.connect(connect_packet(mode_2("P", "known", "known-secret"))) == 0
    with RawClient(hub) as client:
        assert client.connect(connect_packet(mode_3("P", "known"))) == 5
    assert "device P/new is activated already (771)" in caplog.text


def test_a_product_may_allow_it_again(hub: Hub) -> None:
    """The secret stays; the newest connection of the device ends the others, of either kind."""
    with RawClient(hub) as first, RawClient(hub) as second, RawClient(hub) as third, RawClient(hub) as fourth:
        secret = activated(first, mode_3("A", "again"))[1]["params"]["deviceSecret"]
        assert activated(second, mode_3("A", "again"))[1]["params"]["deviceSecret"] == secret
        assert first.rest() == []
        assert third.connect(connect_packet(mode_2("A", "again", secret))) == 0
        assert second.rest() == []
        assert inside.online(hub) == 1
        activated(fourth, mode_3("A", "again"))
        assert third.rest() == []
        assert inside.online(hub) == 0
        assert inside.connections(hub) == 1


def test_nothing_is_told_before_it_is_on_disk(hub: Hub) -> None:
    """While the database is locked the device waits; CONNACK came at once."""
    other = sqlite3.connect(hub.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with RawClient(hub) as client:
        assert client.connect(connect_packet(mode_3("P", "new"))) == 0
        client.ping()
        assert client.receives_nothing()
        stored = "SELECT secret FROM devices WHERE device_key = 'new'"
        assert other.execute(stored).fetchall() == [("",)]
        other.execute("ROLLBACK")
        secret = orjson.loads(client.message().payload)["params"]["deviceSecret"]
        assert other.execute(stored).fetchall() == [(secret,)]
    other.close()


def test_a_device_that_leaves_too_early_is_told_nothing(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    """The log says so: it cannot come again, unless its product allows it."""
    caplog.set_level(logging.INFO)
    other = sqlite3.connect(hub.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with RawClient(hub) as client:
        assert client.connect(connect_packet(mode_3("P", "new"))) == 0
        client.send(DISCONNECT)
        assert client.rest() == []
    other.execute("ROLLBACK")
    other.close()
    eventually(lambda: "had gone before it was told its secret" in caplog.text)
    with RawClient(hub) as client:
        assert client.connect(connect_packet(mode_3("P", "new"))) == 5


@pytest.mark.parametrize("way", ["its own connection", "its gateway"])
def test_a_secret_that_is_declared_meanwhile_stays_and_is_told(hub: Hub, way: str) -> None:
    """What was made for the device is not stored over it, and told to nobody: it comes again, and is told that one.

    Its own connection ends, so that it does so at once; a gateway has others to speak for, and sends its login again.
    """
    request = encode_publish("/ext/session/P/gw/combine/login", login("P/sub", mode=3), qos=1, packet_id=1)
    who = mode_3("P", "sub") if way == "its own connection" else mode_2("P", "gw", "gw-secret")
    other = sqlite3.connect(hub.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with RawClient(hub) as early:
        # All at once: before the hub finds out that it cannot commit, and reads no more.
        early.send(connect_packet(who), request, PINGREQ)
        assert early.expect(PacketType.CONNACK).body == b"\0\0"
        early.expect(PacketType.PINGRESP)
        other.execute("UPDATE devices SET secret = 'declared' WHERE device_key = 'sub' AND product_key = 'P'")
        other.execute("UPDATE meta SET value = value + 1 WHERE name = 'registry_revision'")
        other.execute("COMMIT")
        other.close()
        if way == "its own connection":
            assert early.rest() == []
        eventually(lambda: inside.secret(hub, DeviceId("P", "sub")) == "declared")
        if way == "its gateway":
            assert early.receives_nothing()
    assert hub.directory.devices[DeviceId("P", "sub")].secret == "declared"
    with RawClient(hub) as client:
        assert activated(client, mode_3("P", "sub"))[1]["params"]["deviceSecret"] == "declared"


def test_it_may_do_nothing_else(hub: Hub) -> None:
    """What it reports is not taken and not acknowledged, so that it is sent again; other topics are not granted."""
    report = "/sys/P/new/thing/measurepoint/resume"
    with RawClient(hub) as client:
        activated(client, mode_3("P", "new"))
        client.send(encode_publish(report, resume(1), qos=1, packet_id=7), encode_publish(report, resume(1)))
        client.ping()
        assert client.receives_nothing()
        assert client.subscribe(INFO, "/ext/session/+/+/thing/activate/info", f"{report}_reply", "#", qos=1) == [
            1,
            1,
            0x80,
            0x80,
        ]
        client.unsubscribe(INFO)
        client.send(encode_publish(f"{INFO}_reply", b"{}", qos=2, packet_id=8))
        client.expect(PacketType.PUBREC)
        client.acknowledge(PacketType.PUBREL, 8)
        client.expect(PacketType.PUBCOMP)
        client.send(PINGREQ)
        client.expect(PacketType.PINGRESP)
        assert inside.online(hub) == 0
        assert metric(hub, "enos_ingest_publishes_denied_total") == 2
        client.send(subscribe_packet(*["a"] * 101))
        assert client.rest() == []
    assert hub.points("P/new") == []


def test_its_connection_ends_with_the_hub_and_with_the_registry(hub: Hub) -> None:
    """As any other."""
    with RawClient(hub) as disabled, RawClient(hub) as stopped:
        activated(disabled, mode_3("P", "new"))
        hub.apply({"devices": [{"product": "P", "key": "new", "enabled": False}]})
        assert disabled.rest() == []
        activated(stopped, mode_3("P", "known"))
        hub.stop()
        assert stopped.rest() == []


def test_nobody_else_learns_of_it(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    """Not operators who watch everything, not the log, not the quarantine."""
    caplog.set_level(logging.DEBUG)
    login_topic = "/ext/session/P/gw/combine/login"
    with RawClient(hub) as watcher, RawClient(hub) as client, RawClient(hub) as gateway:
        assert watcher.connect(connect_packet(operator("alice"))) == 0
        assert watcher.subscribe("/#") == [0]
        secret = activated(client, mode_3("P", "new"))[1]["params"]["deviceSecret"]
        assert gateway.connect(connect_packet(mode_2("P", "gw", "gw-secret"))) == 0
        gateway.publish(login_topic, login("P/sub", mode=3))
        answer = orjson.loads(gateway.message().payload)
        assert answer["code"] == 200
        gateway.publish(login_topic, login("P/sub-2", "sub-2-secret"))
        seen: list[Publish] = []
        while not seen or seen[-1].topic != f"{login_topic}_reply":
            seen.append(watcher.message())
        assert [message.topic for message in seen] == [login_topic, login_topic, f"{login_topic}_reply"]
    secrets = [secret, answer["data"]["deviceSecret"]]
    for hidden in secrets:
        assert not any(hidden.encode() in message.payload for message in seen)
        assert hidden not in caplog.text
        assert not any(hidden.encode() in entry.payload for entry in hub.quarantine())


def test_an_operator_is_told_no_secret(hub: Hub) -> None:
    """What answers it can be read by others: secrets are told on the connection of a gateway only."""
    params = [{"productKey": "P", "deviceKey": "made"}]
    register = {"id": "1", "version": "1.0", "method": "thing.device.register", "params": params}
    requests = {
        "/ext/session/P/gw/combine/login": login("P/sub", mode=3),
        "/sys/P/gw/thing/device/register": orjson.dumps(register),
    }
    with RawClient(hub) as alice:
        assert alice.connect(connect_packet(operator("alice"))) == 0
        for topic, payload in requests.items():
            assert alice.subscribe(f"{topic}_reply") == [0]
            alice.send(encode_publish(topic, payload))
            answer = orjson.loads(alice.message().payload)
            assert answer["code"] == 1009
            assert "deviceSecret" not in answer["data"]
            assert "on the connection of" in answer["message"]
    assert not hub.directory.devices[DeviceId("P", "sub")].secret
    assert DeviceId("P", "made") not in hub.directory.devices


@pytest.mark.parametrize("how", [Compression.GZIP, Compression.LZ4])
def test_the_secret_is_compressed_for_a_client_that_declares_it(hub: Hub, how: Compression) -> None:
    """As all that it is sent."""
    with RawClient(hub) as client:
        declared = f"{{ip=127.0.0.1,version=enos-mqtt-2.2.16,compress={how.value}}}"
        assert client.connect(connect_packet(mode_3("P", "known", declared=declared))) == 0
        told = orjson.loads(decompress(how, client.message().payload, 1000))
        assert told["params"]["deviceSecret"] == "known-secret"
