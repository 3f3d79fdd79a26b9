"""Topology and registration as the SDKs in Java, for Node.js and in C ask for them, byte by byte."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from enos_ingest.testing.hub import Hub
from tests.clients.test_c_sdk import CSdk
from tests.clients.test_java_sdk import JavaSdk
from tests.clients.test_node_sdk import NodeSdk
from tests.clients.wire import WireClient, digest
from tests.clients.world import GATEWAY, INVERTER, REGISTRY, SECRETS, SUB_1

STAMP = "1795221828027"
THING = f"/sys/{GATEWAY}/thing"

Sdk = Callable[[Hub], WireClient]

SDKS = pytest.mark.parametrize("sdk", [JavaSdk, NodeSdk, CSdk], ids=["Java", "Node.js", "C"])


@pytest.fixture
def hub(enos_hub: Callable[..., Hub]) -> Hub:
    """A hub whose gateways may register inverters."""
    products = [{**product, "register": True} for product in REGISTRY["products"]]
    return enos_hub(registry={**REGISTRY, "products": products})


def keys(device: str) -> dict[str, str]:
    return dict(zip(("productKey", "deviceKey"), device.split("/"), strict=True))


def added(sdk: Sdk, device: str, secret: str) -> dict[str, str]:
    """An item of topo/add: C spells `signmethod`, and names a keyed hash that it does not compute."""
    content = {**keys(device), "clientId": device.replace("/", "."), "timestamp": STAMP}
    if sdk is CSdk:
        return {**content, "signmethod": "hmacSha256", "sign": digest(content, secret, upper=True)}
    return {**content, "signMethod": "sha256", "sign": digest(content, secret, upper=sdk is NodeSdk)}


@SDKS
def test_a_sub_device_is_added_and_let_go(hub: Hub, sdk: Sdk) -> None:
    """Seen by topo/get in between; while it is online it is not let go."""
    with sdk(hub) as client:

        def known() -> set[tuple[str, str]]:
            reply = client.ask(f"{THING}/topo/get", "thing.topo.get", {})
            assert reply["code"] == 200
            return {(each["productKey"], each["deviceKey"]) for each in reply["data"]}

        def add(device: str, secret: str) -> Any:
            return client.ask(f"{THING}/topo/add", "thing.topo.add", [added(sdk, device, secret)])["code"]

        before = known()
        assert add(INVERTER, "guessed") == 742
        assert add("Sb7PkXyZ/nobody", "any") == 705
        assert known() == before
        assert add(INVERTER, SECRETS[INVERTER]) == 200
        assert known() == before | {tuple(INVERTER.split("/"))}
        for devices, code in (([INVERTER, "Sb7PkXyZ/nobody"], 1256), ([INVERTER], 200), ([INVERTER], 1256)):
            reply = client.ask(f"{THING}/topo/delete", "thing.topo.delete", [keys(device) for device in devices])
            assert reply["code"] == code
        assert known() == before


@SDKS
def test_a_device_is_registered_and_comes_with_its_secret(hub: Hub, sdk: Sdk) -> None:
    """C sends no more than the keys; a device that is there already is not registered again, nor others with it."""
    item: dict[str, Any] = keys("Sb7PkXyZ/new-1")
    if sdk is not CSdk:
        item |= {"deviceName": {"defaultValue": "New", "i18nValue": {"en_US": "New"}}, "timezone": "+08:00"}
    with sdk(hub) as client:
        topic, method = f"{THING}/device/register", "thing.device.register"
        assert client.ask(topic, method, [item, {**item, **keys(SUB_1)}])["code"] == 702
        reply = client.ask(topic, method, [item])
        assert reply["code"] == 200
        (found,) = reply["data"]
        assert found.items() >= keys("Sb7PkXyZ/new-1").items()
        assert all(isinstance(found[name], str) and found[name] for name in ("assetId", "deviceSecret"))
        # Who has not got the answer asks again.
        assert client.ask(topic, method, [item])["data"] == [found]
        # It becomes a sub-device at once, with the secret that was told.
        reply = client.ask(f"{THING}/topo/add", "thing.topo.add", [added(sdk, "Sb7PkXyZ/new-1", found["deviceSecret"])])
        assert reply["code"] == 200
