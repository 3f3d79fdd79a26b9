"""Dynamic activation by the official Python SDK, unmodified: it keeps the secret that it is told, and comes again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Self

import pytest
from enos.core.constant.DeviceCredential import DeviceCredential
from enos.core.internal.Profile import Profile
from enos.core.login.DynamicActivationLogin import DynamicActivationLogin
from enos.core.MqttClient import MqttClient
from enos.message.upstream.resume.MeasurepointResumeRequest import MeasurepointResumeRequest
from enos.message.upstream.status.SubDeviceLoginRequest import SubDeviceLoginRequest

from enos_ingest.testing.hub import Hub
from tests.clients.python_sdk import Connect, login
from tests.clients.world import GATEWAY, REGISTRY, SECRETS, SUB_1
from tests.process import PATIENCE

pytestmark = pytest.mark.filterwarnings("ignore:Callback API version 1 is deprecated:DeprecationWarning")

FRESH, FRESH_SUB = "EbxGvUrE/gw-9", "Sb7PkXyZ/sub009"

FLEET: dict[str, Any] = {
    **REGISTRY,
    "products": [{**row, "dynamic_activation": True} for row in REGISTRY["products"]],
    "devices": [
        *REGISTRY["devices"],
        {"product": "EbxGvUrE", "key": "gw-9"},
        {"product": "Sb7PkXyZ", "key": "sub009"},
    ],
    "gateways": [{"device": GATEWAY, "sub_devices": [SUB_1, FRESH_SUB]}],
}


@pytest.fixture
def hub(enos_hub: Callable[..., Hub]) -> Hub:
    """A hub whose products let devices be activated with the product's secret."""
    return enos_hub(registry=FLEET)


class Activating:
    """The SDK with the secret of a device's product; `secrets` are what its program was told."""

    def __init__(self, hub: Hub, device: str) -> None:
        product_key, _, device_key = device.partition("/")
        credentials = DynamicActivationLogin(
            f"tcp://{hub.host}:{hub.port}", product_key, SECRETS[product_key], device_key
        )
        self.client = MqttClient(profile=Profile.create_instance(credentials))
        self.client.get_profile().set_auto_reconnect(False)
        self.secrets: list[str] = []
        self._told = threading.Event()
        self.client.on_device_dynamic_active = self._take

    def __enter__(self) -> Self:
        self.client.connect()
        return self

    def __exit__(self, *_: object) -> None:
        paho = self.client._MqttClient__connection._MqttConnection__paho_client  # noqa: SLF001
        self.client.close()
        paho.loop_stop()
        paho.reinitialise()

    def told(self) -> str:
        """The secret, once it has come."""
        assert self._told.wait(PATIENCE)
        return self.secrets[0]

    def _take(self, secret: str) -> None:
        self.secrets.append(secret)
        self._told.set()


def test_a_device_is_activated_and_reports_with_its_secret(hub: Hub, connect: Connect) -> None:
    """It is told once, without having subscribed; then its product's secret does not help any more."""
    with Activating(hub, FRESH) as activating:
        secret = activating.told()
        assert activating.client.is_connected()
    assert set(activating.secrets) == {secret}
    client = connect(FRESH, secret, wait=True)
    assert client.is_connected()
    points = MeasurepointResumeRequest.builder().add_measure_points({"GW.CPULoad": 1}).set_timestamp(1).build()
    assert client.publish(points).get_code() == 200
    assert [point.value for point in hub.points(FRESH)] == [1]


def test_a_sub_device_is_activated_by_its_gateway(connect: Connect) -> None:
    """The answer of its login holds the secret, with which it logs in from then on."""
    product_key, _, device_key = FRESH_SUB.partition("/")
    known = DeviceCredential(product_key, SECRETS[product_key], device_key, None)
    client = connect()
    response = client.publish(SubDeviceLoginRequest.builder().set_sub_device_credential(known).build())
    assert response.get_code() == 200
    secret = response.get_data()["deviceSecret"]
    assert client.publish(login(FRESH_SUB, secret)).get_code() == 200
    again = SubDeviceLoginRequest.builder().set_sub_device_credential(known).build()
    assert client.publish(again).get_code() == 771
