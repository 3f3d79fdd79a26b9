"""What devices are told of what their operator does with them, and what is kept of when they came and went."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from enos_ingest.devices.changes import PresenceChanged
from enos_ingest.endpoint.limits import CLOSED_REASONS
from enos_ingest.endpoint.packets import PacketType, encode_publish
from enos_ingest.protocol.credentials import sign
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.storage.facts import SqliteFacts
from tests.endpoint import inside
from tests.endpoint.raw import DISCONNECT, RawClient, connect_packet, unsubscribe_packet
from tests.endpoint.site import MODELS, operator
from tests.endpoint.waiting import eventually

if TYPE_CHECKING:
    from enos_ingest.testing import HubFactory
    from enos_ingest.testing.hub import Hub

GATEWAYS = ("gw", "gw-2")
SUBS = ("sub", "sub-2")

REGISTRY: dict[str, Any] = {
    "products": [{"key": "P", "secret": "PSecret", "model": "m"}],
    "devices": [{"product": "P", "key": key, "secret": f"{key}-secret"} for key in (*GATEWAYS, *SUBS, "alone")],
    "gateways": [{"device": f"P/{key}", "sub_devices": ["P/sub", "P/sub-2"]} for key in GATEWAYS],
    "operators": [{"name": "alice", "password": "alice-password", "scopes": ["read", "write"]}],
}

TAGS = b'{"id":"1","version":"1.0","method":"thing.tag.query","params":{"tags":[]}}'

GW, GW_2, SUB, ALONE = (DeviceId("P", key) for key in ("gw", "gw-2", "sub", "alone"))


@pytest.fixture
def hub(enos_hub: HubFactory) -> Hub:
    """A hub for each test."""
    return enos_hub(registry=REGISTRY, models=MODELS)


def connected(hub: Hub, key: str, *, keep_alive: int = 0) -> RawClient:
    """A device that was let in."""
    client = RawClient(hub)
    assert client.connect(connect_packet(hub.credentials(f"P/{key}"), keep_alive=keep_alive)) == 0
    return client


def request(key: str, action: str) -> bytes:
    """A login or logout of a sub-device."""
    params = {"productKey": "P", "deviceKey": key, "clientId": "c", "timestamp": "1", "signMethod": "sha256"}
    params["sign"] = sign(f"{key}-secret", f"clientIdcdeviceKey{key}productKeyPtimestamp1")
    return orjson.dumps({"id": "1", "version": "1.0", "method": f"combine.{action}", "params": params})


def ask(gateway: RawClient, through: str, key: str, action: str = "login") -> int:
    """The code that answers it."""
    gateway.publish(f"/ext/session/P/{through}/combine/{action}", request(key, action))
    code: int = orjson.loads(gateway.message().payload)["code"]
    return code


def changed(key: str, **changes: Any) -> dict[str, Any]:
    """A registry file that changes one device."""
    return {"devices": [{"product": "P", "key": key, "secret": f"{key}-secret", **changes}]}


def history(hub: Hub, device: DeviceId) -> list[tuple[bool, str, DeviceId | None]]:
    """What is stored of a device, oldest first."""
    with SqliteFacts(hub.database) as facts:
        return [(change.online, change.why, change.gateway) for change in facts.presence(device)][::-1]


def test_a_disabled_device_is_told_and_let_go(hub: Hub) -> None:
    """Then refused, until it is enabled again."""
    with connected(hub, "alone") as client:
        hub.apply(changed("alone", enabled=False))
        said = client.message()
        assert (said.topic, said.qos) == ("/sys/P/alone/thing/disable", 1)
        assert orjson.loads(said.payload)["params"] == {}
        assert client.rest() == []
    assert inside.online(hub) == 0
    with RawClient(hub) as client:
        assert client.connect(connect_packet(hub.credentials("P/alone"))) == 5
    hub.apply(changed("alone", enabled=True))
    connected(hub, "alone").socket.close()
    eventually(lambda: len(history(hub, ALONE)) == 4)
    assert history(hub, ALONE)[:3] == [(True, "connected", None), (False, "disabled", None), (True, "connected", None)]


def test_a_deleted_device_is_told_and_let_go(hub: Hub) -> None:
    """Its history goes with it; what is left is how it went."""
    with connected(hub, "alone") as client:
        rest = {**REGISTRY, "devices": [row for row in REGISTRY["devices"] if row["key"] != "alone"]}
        hub.apply(rest, prune=True)
        assert client.message().topic == "/sys/P/alone/thing/delete"
        assert client.rest() == []
    eventually(lambda: history(hub, ALONE) == [(False, "deleted", None)])


def test_the_gateways_of_a_sub_device_are_told(hub: Hub) -> None:
    """Each that is connected, whether or not it is the one through which the sub-device was online."""
    with connected(hub, "gw") as gateway, connected(hub, "gw-2") as other:
        assert ask(gateway, "gw", "sub") == 200
        hub.apply(changed("sub", enabled=False))
        for client, key in ((gateway, "gw"), (other, "gw-2")):
            said = client.message()
            assert said.topic == f"/ext/session/P/{key}/combine/disable"
            told = orjson.loads(said.payload)
            assert (told["method"], told["params"]) == ("combine.disable", [{"productKey": "P", "deviceKey": "sub"}])
            client.acknowledge(PacketType.PUBACK, said.packet_id)
            client.publish(f"{said.topic}_reply", orjson.dumps({"id": told["id"], "code": 200}))
        assert not inside.presence(hub).is_online(SUB)
        assert ask(gateway, "gw", "sub") == 723
        hub.apply(changed("sub", enabled=True))
        assert gateway.message().topic == "/ext/session/P/gw/combine/enable"
        assert ask(gateway, "gw", "sub") == 200
        eventually(lambda: len(history(hub, SUB)) == 3)
        assert history(hub, SUB) == [(True, "login", GW), (False, "disabled", GW), (True, "login", GW)]
        rest = {**REGISTRY, "devices": [row for row in REGISTRY["devices"] if row["key"] != "sub"]}
        rest["gateways"] = [{**row, "sub_devices": ["P/sub-2"]} for row in REGISTRY["gateways"]]
        hub.apply(rest, prune=True)
        assert gateway.message().topic == "/ext/session/P/gw/combine/delete"
        assert not inside.presence(hub).is_online(SUB)
    eventually(lambda: history(hub, SUB) == [(False, "deleted", GW)])


def test_other_changes_are_told_to_nobody(hub: Hub) -> None:
    """A new secret ends the session, as before; who has unsubscribed is not told either."""
    with connected(hub, "alone") as client, connected(hub, "gw") as gateway:
        gateway.send(unsubscribe_packet("/ext/session/P/gw/combine/disable"))
        gateway.expect(PacketType.UNSUBACK)
        hub.apply({"devices": [{"product": "P", "key": "alone", "secret": "another"}]})
        assert client.rest() == []
        hub.apply(changed("sub", enabled=False))
        gateway.ping()
    eventually(lambda: history(hub, ALONE)[-1:] == [(False, "registry", None)])


def test_a_sub_device_whose_secret_changes_goes_offline(hub: Hub) -> None:
    """Without a word, as a device that is connected by itself; its gateway logs it in with the new one."""
    with connected(hub, "gw") as gateway:
        assert [ask(gateway, "gw", key) for key in SUBS] == [200, 200]
        hub.apply(changed("sub", secret="another"))
        eventually(lambda: not inside.presence(hub).is_online(SUB))
        gateway.publish("/sys/P/sub/thing/tag/query", TAGS)
        assert orjson.loads(gateway.message().payload)["code"] == 1212
        assert ask(gateway, "gw", "sub") == 742
        hub.apply(changed("sub"))
        eventually(lambda: inside.secret(hub, SUB) == "sub-secret")
        assert ask(gateway, "gw", "sub") == 200
        assert inside.presence(hub).is_online_through(GW, DeviceId("P", "sub-2"))
    eventually(lambda: len(history(hub, SUB)) == 4)
    assert history(hub, SUB)[:3] == [(True, "login", GW), (False, "registry", GW), (True, "login", GW)]


def test_each_end_is_kept_with_its_reason(hub: Hub) -> None:
    """Of devices and of sub-devices."""
    with connected(hub, "gw") as gateway, connected(hub, "gw-2") as other:
        assert ask(gateway, "gw", "sub") == 200
        assert ask(other, "gw-2", "sub") == 200
        assert ask(other, "gw-2", "sub", "logout") == 200
        assert ask(other, "gw-2", "sub") == 200
        with connected(hub, "gw") as newer:
            assert gateway.rest() == []
            newer.send(DISCONNECT)
            assert newer.rest() == []
    with connected(hub, "gw", keep_alive=1) as silent:
        assert silent.rest() == []
    eventually(lambda: len(history(hub, GW)) == 6)
    assert history(hub, GW) == [
        (True, "connected", None),
        (False, "taken_over", None),
        (True, "connected", None),
        (False, "client", None),
        (True, "connected", None),
        (False, "keep_alive", None),
    ]
    eventually(lambda: len(history(hub, SUB)) == 6)
    assert history(hub, SUB) == [
        (True, "login", GW),
        (False, "taken_over", GW),
        (True, "login", GW_2),
        (False, "logout", GW_2),
        (True, "login", GW_2),
        (False, "gateway", GW_2),
    ]
    eventually(lambda: history(hub, GW_2)[-1:] == [(False, "network", None)])


def test_a_hub_that_stops_leaves_nobody_online(hub: Hub) -> None:
    """Also no sub-device that an operator has logged in for a gateway that was never there."""
    with connected(hub, "gw") as gateway, RawClient(hub) as alice:
        assert ask(gateway, "gw", "sub-2") == 200
        assert alice.connect(connect_packet(operator("alice"))) == 0
        topic = "/ext/session/P/gw-2/combine/login"
        assert alice.subscribe(f"{topic}_reply") == [0]
        alice.send(encode_publish(topic, request("sub", "login")))
        assert orjson.loads(alice.message().payload)["code"] == 200
        hub.stop()
        gateway.rest()
    assert history(hub, GW)[-1] == (False, "stopped", None)
    assert history(hub, DeviceId("P", "sub-2"))[-1] == (False, "gateway", GW)
    assert history(hub, SUB)[-1] == (False, "stopped", GW_2)


def test_whom_a_crash_left_online_is_offline_after_the_next_start(hub: Hub) -> None:
    """At the time of the start: when it was is not known."""
    with connected(hub, "gw") as gateway:
        assert ask(gateway, "gw", "sub") == 200
    eventually(lambda: history(hub, SUB)[-1:] == [(False, "gateway", GW)])
    hub.stop()
    # What a crash leaves: the last rows are missing.
    with sqlite3.connect(hub.database) as database:
        database.execute("DELETE FROM presence WHERE online = 0")
    database.close()
    with SqliteFacts(hub.database) as facts:
        before = facts.last_presence()
        assert all(change.online for change in before.values())
    hub.start()
    hub.stop()
    assert history(hub, GW) == [(True, "connected", None), (False, "crashed", None)]
    assert history(hub, SUB) == [(True, "login", GW), (False, "crashed", GW)]
    with SqliteFacts(hub.database) as facts:
        after: PresenceChanged = facts.last_presence()[GW]
    assert after.time >= before[GW].time


def test_history_waits_for_a_store_that_fails_and_holds_up_nobody(hub: Hub) -> None:
    """It is stored once the database can be written again, in its order."""
    # A first login, unlike others, is waited for.
    connected(hub, "gw").socket.close()
    eventually(lambda: len(history(hub, GW)) == 2)
    with connected(hub, "alone") as client:
        with inside.locked(hub):
            with connected(hub, "gw") as gateway:
                eventually(lambda: inside.store(hub).failure is not None)
                gateway.ping()
            client.ping()
            assert len(history(hub, GW)) == 2
        eventually(lambda: [online for online, _, _ in history(hub, GW)] == [True, False] * 2)


def test_the_reasons_are_those_of_the_documentation() -> None:
    """Each, and no other."""
    page = (Path(__file__).parents[2] / "docs" / "sessions.md").read_text("utf-8")
    rows = re.findall(r"^\| (`.*?) \|", page.partition("| `why` |")[2], re.MULTILINE)
    documented = {word for row in rows for word in re.findall(r"`(\w+)`", row)}
    assert documented == {*CLOSED_REASONS, "connected", "login", "logout", "gateway", "crashed"}
