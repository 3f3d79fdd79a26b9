"""The official Python SDK where gateways change the registry: topology and registration."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from enos.core.util.StringI18n import StringI18n
from enos.message.upstream.register.DeviceRegisterRequest import DeviceRegisterRequest
from enos.message.upstream.register.DeviceRegOption import DeviceRegOption
from enos.message.upstream.topo.SubDeviceInfo import SubDeviceInfo
from enos.message.upstream.topo.TopoAddRequest import TopoAddRequest
from enos.message.upstream.topo.TopoDeleteRequest import TopoDeleteRequest
from enos.message.upstream.topo.TopoGetRequest import TopoGetRequest

from enos_ingest.protocol.identity import DeviceId
from enos_ingest.testing.hub import Hub
from tests.clients.python_sdk import Connect, login
from tests.clients.world import REGISTRY

# The SDK asks paho for callbacks of its first version; nothing else may warn.
pytestmark = pytest.mark.filterwarnings("ignore:Callback API version 1 is deprecated:DeprecationWarning")

INVERTERS = "Sb7PkXyZ"


@pytest.fixture
def hub(enos_hub: Callable[..., Hub]) -> Hub:
    """A hub whose gateways may register devices."""
    gateways, inverters = REGISTRY["products"]
    return enos_hub(registry={**REGISTRY, "products": [{**gateways, "register": True}, inverters]})


def test_a_gateway_registers_takes_on_and_lets_go(hub: Hub, connect: Connect) -> None:
    """From a device that nobody knew to a sub-device that is online, and back."""
    client = connect()
    name = StringI18n("Inverter 9")
    name.set_localized_value("zh_CN", "逆变器")
    options = [DeviceRegOption("new-9", name, "made by a test", "+08:00", {"a": 1})]
    options += [DeviceRegOption("", StringI18n("?"), "", "+08:00")]
    registered = client.publish(
        DeviceRegisterRequest.builder().add_batch_register_info(INVERTERS, options).build()
    ).get_data()
    secrets = {row["deviceKey"]: row["deviceSecret"] for row in registered}
    assert next(iter(secrets)) == "new-9"
    assert hub.directory.devices[DeviceId(INVERTERS, "new-9")].name == (
        '{"defaultValue":"Inverter 9","i18nValue":{"zh_CN":"逆变器"}}'
    )

    device = f"{INVERTERS}/new-9"
    assert client.publish(login(device, secrets["new-9"])).get_code() == 740
    infos = [SubDeviceInfo(INVERTERS, key, secret) for key, secret in secrets.items()]
    assert client.publish(TopoAddRequest.builder().add_sub_devices(infos).build()).get_code() == 200
    assert client.publish(login(device, secrets["new-9"])).get_code() == 200
    had = {row["deviceKey"] for row in client.publish(TopoGetRequest.builder().build()).get_data()}
    assert had >= secrets.keys()

    delete = TopoDeleteRequest.builder().delete_sub_device(INVERTERS, "new-9")
    online = client.publish(delete.build())
    assert (online.get_code(), online.get_message()) == (1256, f"{device} is online")
    other = next(key for key in secrets if key != "new-9")
    gone = TopoDeleteRequest.builder().delete_sub_device(INVERTERS, other)
    assert client.publish(gone.build()).get_code() == 200
    left = {row["deviceKey"] for row in client.publish(TopoGetRequest.builder().build()).get_data()}
    assert left == had - {other}


def test_what_is_refused_is_told(hub: Hub, connect: Connect) -> None:
    """A device that is registered already, a signature that does not match; nothing is changed."""
    assert hub.directory.devices
    client = connect()
    again = DeviceRegisterRequest.builder().add_register_information(INVERTERS, "new-9", StringI18n("x"), "", "+08:00")
    assert client.publish(again.build()).get_code() == 200
    other = DeviceRegisterRequest.builder().add_register_information(INVERTERS, "new-9", StringI18n("y"), "", "+08:00")
    assert client.publish(other.build()).get_code() == 702
    before = hub.directory
    wrong = TopoAddRequest.builder().add_sub_device(SubDeviceInfo(INVERTERS, "new-9", "other"))
    assert client.publish(wrong.build()).get_code() == 742
    assert hub.directory is before
