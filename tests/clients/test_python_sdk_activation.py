"""The official Python SDK where a device has no secret yet: it is made, pushed and kept."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Any

import pytest
from enos.core.constant.DeviceCredential import DeviceCredential
from enos.message.upstream.status.SubDeviceLoginRequest import SubDeviceLoginRequest
from enos.message.upstream.tsl.MeasurepointPostRequest import MeasurepointPostRequest

from enos_ingest.testing.hub import Hub
from tests.clients.python_sdk import Connect, login
from tests.clients.world import GATEWAY, REGISTRY, SECRETS
from tests.process import PATIENCE, eventually

# The SDK asks paho for callbacks of its first version; nothing else may warn.
pytestmark = pytest.mark.filterwarnings("ignore:Callback API version 1 is deprecated:DeprecationWarning")

NEW, NEW_SUB = "Sb7PkXyZ/new-1", "Sb7PkXyZ/sub009"


@pytest.fixture
def hub(enos_hub: Callable[..., Hub]) -> Hub:
    """A hub that has heard of a device and a sub-device, and not of their secrets."""
    gateways, inverters = REGISTRY["products"]
    return enos_hub(
        registry={
            **REGISTRY,
            "products": [gateways, {**inverters, "dynamic_activation": True}],
            "devices": [
                *REGISTRY["devices"],
                {"product": "Sb7PkXyZ", "key": "new-1"},
                {"product": "Sb7PkXyZ", "key": "sub009"},
            ],
            "gateways": [{"device": GATEWAY, "sub_devices": [NEW_SUB]}],
        }
    )


def post(value: float, time: int) -> Any:
    return MeasurepointPostRequest.builder().add_measurepoint("temp", value).set_timestamp(time).build()


def test_a_device_is_activated_and_comes_back_with_its_secret(hub: Hub, connect: Connect) -> None:
    """The program keeps what it is told, connects again with that, now and after a restart, and reports."""
    told: queue.SimpleQueue[str] = queue.SimpleQueue()
    client = connect(NEW, activated=told.put)
    secret = told.get(timeout=PATIENCE)
    client.get_profile().set_device_secret(secret)
    client.reconnect()
    assert client.is_connected()
    assert client.publish(post(1, 1)).get_code() == 200
    client.disconnect()

    client = connect(NEW, secret)
    assert client.publish(post(2, 2)).get_code() == 200
    assert [point.value for point in hub.points(NEW)] == [1, 2]
    assert told.empty()


def test_a_device_is_activated_once(hub: Hub, connect: Connect) -> None:
    """Another one that comes with the product's secret is refused, and told nothing; the first stays."""
    told: queue.SimpleQueue[str] = queue.SimpleQueue()
    connect(NEW, activated=told.put)
    secret = told.get(timeout=PATIENCE)
    client = connect(NEW, secret)
    again = connect(NEW, activated=told.put, wait=True)
    assert not again.is_connected()
    assert told.empty()
    assert client.publish(post(1, 1)).get_code() == 200
    eventually(lambda: [point.value for point in hub.points(NEW)] == [1])


def test_a_sub_device_is_activated_by_its_gateway(connect: Connect) -> None:
    """The answer of its login holds the secret, with which it logs in from then on."""
    product_key, _, device_key = NEW_SUB.partition("/")
    known = DeviceCredential(product_key, SECRETS[product_key], device_key, None)
    client = connect()
    response = client.publish(SubDeviceLoginRequest.builder().set_sub_device_credential(known).build())
    assert response.get_code() == 200
    secret = response.get_data()["deviceSecret"]
    assert client.publish(login(NEW_SUB, secret)).get_code() == 200
    again = SubDeviceLoginRequest.builder().set_sub_device_credential(known).build()
    assert client.publish(again).get_code() == 771
