"""The official Python SDK as a device in whose product's format the hub speaks: bytes, no envelope."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from enos.message.downstream.tsl.ModelDownRawCommand import ModelDownRawCommand
from enos.message.downstream.tsl.ModelDownRawReply import ModelDownRawReply
from enos.message.upstream.integration.IntModelUpRawRequest import IntModelUpRawRequest
from enos.message.upstream.tsl.ModelUpRawRequest import ModelUpRawRequest

from enos_ingest.codecs.sample import codec as sample
from enos_ingest.testing.hub import Hub
from tests.clients.python_sdk import Connect, login
from tests.clients.world import INVERTER, REGISTRY, SUB_1

# The SDK asks paho for callbacks of its first version; nothing else may warn.
pytestmark = pytest.mark.filterwarnings("ignore:Callback API version 1 is deprecated:DeprecationWarning")


@pytest.fixture
def hub(enos_hub: Callable[..., Hub]) -> Hub:
    """A hub whose inverters speak the sample's format."""
    gateways, inverters = REGISTRY["products"]
    products = [gateways, {**inverters, "codec": "enos_ingest.codecs.sample:codec"}]
    # A busy machine does not overrun it.
    return enos_hub(registry={**REGISTRY, "products": products}, settings={"codecs.seconds": 20.0})


def frame(value: Any, time: int) -> bytes:
    """A report of one point."""
    params = {"measurepoints": {"temp": value}, "time": time}
    return sample.encode({"id": "5", "version": "1.0", "method": "thing.measurepoint.post", "params": params})


def up_raw(payload: bytes, device: str | None = None) -> Any:
    builder = ModelUpRawRequest.builder().set_payload(payload)
    if device is not None:
        builder.set_product_key(device.partition("/")[0]).set_device_key(device.partition("/")[2])
    return builder.build()


def test_a_device_reports_in_its_own_format(hub: Hub, connect: Connect) -> None:
    """The reply is a frame as well, which the SDK hands over as it came."""
    client = connect(INVERTER)
    reply = client.publish(up_raw(frame(21.5, 1))).get_payload()
    assert sample.decode(bytes(reply)) | {"message": ""} == {"id": "5", "code": 200, "data": {}, "message": ""}
    reply = client.publish(up_raw(frame("warm", 2))).get_payload()
    assert sample.decode(bytes(reply))["code"] == 1204
    assert [(point.time, point.value, point.origin) for point in hub.points(INVERTER)] == [(1, 21.5, "post")]


def test_a_gateway_reports_for_a_sub_device(hub: Hub, connect: Connect) -> None:
    """On the sub-device's topic, and is answered there."""
    client = connect()
    assert client.publish(login(SUB_1)).is_success()
    reply = client.publish(up_raw(frame(21.5, 1), SUB_1)).get_payload()
    assert sample.decode(bytes(reply))["code"] == 200
    assert [point.value for point in hub.points(SUB_1)] == [21.5]


def test_bytes_of_a_channel(connect: Connect) -> None:
    """The sample's format holds no request of a channel; it is told so, in the format."""
    client = connect("Sb7PkXyZ/%channel%")
    reply = client.publish(IntModelUpRawRequest.builder().set_payload(frame(1, 1)).build()).get_payload()
    assert sample.decode(bytes(reply))["code"] != 200


def test_a_value_reaches_the_device_in_its_format(hub: Hub, connect: Connect) -> None:
    """The handler gets the frame, and answers with one."""

    def handle(command: Any, _: Any) -> Any:
        message = sample.decode(bytes(command.get_payload()))
        assert message["params"] == {"temp": 1}
        reply = ModelDownRawReply()
        reply.set_payload(sample.encode({"id": message["id"], "code": 200}))
        return reply

    connect(INVERTER, handlers={ModelDownRawCommand: handle})
    assert hub.application().set_measurepoint(INVERTER, "temp", 1)["code"] == 0
