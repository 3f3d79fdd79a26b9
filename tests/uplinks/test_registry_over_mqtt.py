"""What gateways change in the registry, from their connections to the database, a restart and the registry file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import orjson
import pytest

from enos_ingest.cli import main
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.testing.client import TestClient
from enos_ingest.testing.hub import Hub, run_hub
from tests.endpoint.site import operator
from tests.endpoint.waiting import eventually
from tests.models.documents import point, thing_model
from tests.uplinks.fleet import keys, signed

GATEWAYS, SUBS = "G", "S"
GATEWAY, SUB, SECOND = DeviceId(GATEWAYS, "gw"), DeviceId(SUBS, "sub"), DeviceId(SUBS, "sub-2")

REGISTRY: dict[str, Any] = {
    "products": [{"key": GATEWAYS, "register": True}, {"key": SUBS, "model": "m"}],
    "devices": [
        {"product": each.product_key, "key": each.device_key, "secret": f"secret of {each}"}
        for each in (GATEWAY, SUB, SECOND)
    ],
    "gateways": [{"device": str(GATEWAY), "sub_devices": [str(SUB)]}],
    "operators": [{"name": "alice", "password": "alice-password", "scopes": ["read"]}],
}


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A hub for each test: they change its registry."""
    with run_hub(registry=REGISTRY, models=[thing_model("m", n=point("INT"))]) as running:
        yield running


def ask(client: TestClient, action: str, params: Any) -> dict[str, Any]:
    """A request of the gateway, and its reply."""
    return client.call(f"/sys/{client.name}/thing/{action}", f"thing.{action.replace('/', '.')}", params)


def test_a_sub_device_is_taken_on_used_and_let_go(hub: Hub) -> None:
    """Each holds for the next message of the same connection."""
    with hub.connect(str(GATEWAY)) as gateway:
        assert gateway.login(str(SECOND), f"secret of {SECOND}")["code"] == 740
        assert ask(gateway, "topo/add", [signed(SECOND)])["code"] == 200
        assert gateway.login(str(SECOND), f"secret of {SECOND}")["code"] == 200
        assert gateway.post_batch([{**keys(SECOND)[0], "measurepoints": {"n": 1}, "time": 5}])["code"] == 200
        assert ask(gateway, "topo/delete", keys(SECOND))["code"] == 1256
        assert gateway.logout(str(SECOND))["code"] == 200
        assert ask(gateway, "topo/delete", keys(SECOND))["code"] == 200
        assert gateway.login(str(SECOND), f"secret of {SECOND}")["code"] == 740
    assert [each.value for each in hub.points(str(SECOND))] == [1]


def test_registered_devices_outlive_a_restart(hub: Hub) -> None:
    """With their secret, and the topology that was made of them."""
    with hub.connect(str(GATEWAY)) as gateway:
        items = [{"productKey": SUBS}, {"productKey": SUBS, "deviceKey": "named"}]
        made, named = ask(gateway, "device/register", items)["data"]
        assert named["deviceKey"] == "named"
        devices = [DeviceId(SUBS, row["deviceKey"]) for row in (made, named)]
        secrets = [row["deviceSecret"] for row in (made, named)]
        added = [signed(each, secret=secret) for each, secret in zip(devices, secrets, strict=True)]
        assert ask(gateway, "topo/add", added)["code"] == 200
    hub.stop()
    hub.start()
    with hub.connect(str(GATEWAY)) as gateway:
        assert {row["deviceKey"] for row in ask(gateway, "topo/get", {})["data"]} == {
            "sub",
            *(device.device_key for device in devices),
        }
        assert gateway.login(str(devices[0]), secrets[0])["code"] == 200
        # Who has not got the answer asks again, until the device has come.
        assert ask(gateway, "device/register", items[1:])["data"] == [named]
    with hub.connect(str(devices[1])), hub.connect(str(GATEWAY)) as gateway:
        assert ask(gateway, "device/register", items[1:])["code"] == 702


def test_a_file_that_is_applied_again_undoes_nothing(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    """In the running hub and in its database."""
    with hub.connect(str(GATEWAY)) as gateway:
        assert ask(gateway, "topo/add", [signed(SECOND)])["code"] == 200
        assert ask(gateway, "topo/delete", keys(SUB))["code"] == 200
        more = {**REGISTRY, "devices": [*REGISTRY["devices"], {"product": SUBS, "key": "more", "secret": "x"}]}
        hub.apply(more)
        assert DeviceId(SUBS, "more") in hub.directory.devices
        assert hub.directory.sub_devices(GATEWAY) == {SECOND}
        assert [row["deviceKey"] for row in ask(gateway, "topo/get", {})["data"]] == ["sub-2"]
        hub.apply(more, prune=True)
        assert ask(gateway, "topo/get", {})["data"] == []
    assert capsys.readouterr().out == ""


def test_an_operator_who_watches_sees_no_secret(hub: Hub) -> None:
    """The request is shown, its answer is not; what comes after it is."""
    credentials = operator("alice")
    with hub.connect(str(GATEWAY)) as gateway, hub.connect_operator("alice", credentials.password) as alice:
        assert alice.subscribe("/sys/#") <= 1
        assert ask(gateway, "device/register", [{"productKey": SUBS}])["code"] == 200
        assert ask(gateway, "device/register", [{"productKey": "nope"}])["code"] == 1200
        shown = [orjson.loads(alice.next_message("/sys/#")) for _ in range(3)]
    assert [each.get("code") for each in shown] == [None, None, 1200]
    assert [each.get("params") for each in shown[:2]] == [[{"productKey": SUBS}], [{"productKey": "nope"}]]


def test_the_shell_shows_what_is_from_the_wire(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    """And what a gateway has let go."""
    with hub.connect(str(GATEWAY)) as gateway:
        ask(gateway, "device/register", [{"productKey": SUBS, "deviceKey": "new"}])
        ask(gateway, "topo/add", [signed(SECOND)])
        ask(gateway, "topo/delete", keys(SUB))
    file = hub.database.parent / "shell.toml"
    file.write_text(f'[storage]\nurl = "sqlite:///{hub.database}"\n', "utf-8")
    assert main(["registry", "show", "-c", str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert next(line for line in lines if "S/new" in line).endswith("never logged in  from the wire")
    assert "gateway      G/gw  sub-devices S/sub-2 (from the wire)" in lines
    assert lines[lines.index("gateway      G/gw  sub-devices S/sub-2 (from the wire)") + 1].startswith(
        "             has let go S/sub  20"
    )


def test_a_change_that_the_database_refuses_is_taken_back(hub: Hub) -> None:
    """Nobody is answered on the strength of it, and the registry is read anew; what comes after it is answered."""
    with closing(sqlite3.connect(hub.database)) as connection, connection:
        # As no registry command does it: without a word to the hub.
        connection.execute("DELETE FROM devices WHERE device_key = 'sub-2'")
    with hub.connect(str(GATEWAY)) as gateway:
        topic = f"/sys/{GATEWAY}/thing/topo/add"
        gateway.subscribe(f"{topic}_reply")
        request = {"id": "lost", "version": "1.0", "method": "thing.topo.add", "params": [signed(SECOND)]}
        gateway.publish(topic, request, qos=0)
        eventually(lambda: SECOND not in hub.directory.devices)
        assert hub.directory.sub_devices(GATEWAY) == {SUB}
        # The first reply that there is.
        assert ask(gateway, "topo/add", [signed(SECOND)])["code"] == 705
