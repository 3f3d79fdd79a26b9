"""The official Python SDK from PyPI, unmodified, as a gateway and as an integration channel.

What it sends differs from its documents in places: `""` for flags and keys that are not set, a float as timestamp,
`hmacsha256` for what is a plain digest. See `enos/sample/` of the package for its usual use.
"""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
import urllib.request
from typing import Any

import pytest
from enos.core.util.SignUtil import SignUtil
from enos.message.upstream.integration.IntMeaturepointPostRequest import IntMeaturepointPostRequest
from enos.message.upstream.resume.MeasurepointResumeBatchRequest import MeasurepointResumeBatchRequest
from enos.message.upstream.resume.MeasurepointResumeRequest import MeasurepointResumeRequest
from enos.message.upstream.status.SubDeviceLogoutRequest import SubDeviceLogoutRequest

from enos_ingest.endpoint.packets import Subscribe
from enos_ingest.testing.hub import Hub
from tests.clients.paho import OLD, fetch_old
from tests.clients.proxy import proxy
from tests.clients.python_sdk import Connect, login
from tests.clients.world import BROKEN, GATEWAY, INVERTER, SECRETS, SUB_1, SUB_2
from tests.process import PATIENCE, eventually

# The SDK asks paho for callbacks of its first version; nothing else may warn.
pytestmark = pytest.mark.filterwarnings("ignore:Callback API version 1 is deprecated:DeprecationWarning")


def resume(device: str | None, points: dict[str, Any], time: int = 1) -> Any:
    """A resume request; for the gateway itself without keys."""
    builder = MeasurepointResumeRequest.builder().add_measure_points(points).set_timestamp(time)
    if device is not None:
        builder.set_product_key(device.partition("/")[0]).set_device_key(device.partition("/")[2])
    return builder.build()


def logout(device: str) -> Any:
    product_key, _, device_key = device.partition("/")
    return SubDeviceLogoutRequest.builder().set_sub_product_key(product_key).set_sub_device_key(device_key).build()


def stored(hub: Hub, device: str) -> list[tuple[str, int, Any]]:
    return [(point.measurepoint, point.time, point.value) for point in hub.points(device)]


def test_a_gateway_reports_for_itself_and_for_a_sub_device(hub: Hub, connect: Connect) -> None:
    """Connect, combine.login, resume for both, logout: the SDK's own objects show success, the points are stored."""
    client = connect(wait=True)
    assert client.is_connected()

    assert client.publish(resume(None, {"GW.CPULoad": 12.5}, 1)).get_code() == 200

    assert client.publish(resume(SUB_1, {"temp": 20}, 1)).get_code() == 1212, "the sub-device is offline"
    response = client.publish(login(SUB_1))
    assert response.is_success()
    assert (response.get_sub_product_key(), response.get_sub_device_key()) == ("Sb7PkXyZ", "sub001")
    assert list(client.get_logined_sub_device()) == ["sub001"]

    response = client.publish(resume(SUB_1, {"temp": 21.5, "branchCurr": ["1.02", "2.02", "7.93"]}, 2))
    assert (response.get_code(), response.get_data()) == (200, {})
    response = client.publish(resume(SUB_1, {"temp": "warm"}, 3))
    assert not response.is_success()
    assert (response.get_code(), response.get_data()) == (1204, {})
    assert response.get_message() == "params.measurepoints.temp: expected a number"

    with_quality = MeasurepointResumeRequest.builder().add_measure_point_with_quality("Power", 1.02, 9)
    with_quality.set_product_key("Sb7PkXyZ").set_device_key("sub001").set_timestamp(4)
    assert client.publish(with_quality.build()).get_code() == 200

    response = client.publish(logout(SUB_1))
    assert response.is_success()
    assert (response.get_sub_product_key(), response.get_sub_device_key()) == ("Sb7PkXyZ", "sub001")
    assert client.publish(resume(SUB_1, {"temp": 22}, 5)).get_code() == 1212

    assert stored(hub, GATEWAY) == [("GW.CPULoad", 1, 12.5)]
    assert stored(hub, SUB_1) == [("Power", 4, 1.02), ("branchCurr", 2, ["1.02", "2.02", "7.93"]), ("temp", 2, 21.5)]
    assert [point.quality for point in hub.points(SUB_1)] == [9, None, None]
    assert {point.origin for point in hub.points(SUB_1)} == {"resume"}


def test_a_sub_device_logs_in_with_its_own_secret_only(hub: Hub, connect: Connect) -> None:
    """Who is unknown, signs wrongly or belongs elsewhere stays offline."""
    client = connect()
    assert client.publish(login(SUB_1, "guessed")).get_code() == 742
    assert client.publish(login("Sb7PkXyZ/nobody", "any")).get_code() == 705
    assert client.publish(login(INVERTER)).get_code() == 740
    assert client.publish(resume(SUB_1, {"temp": 20})).get_code() == 1212
    assert hub.points(SUB_1) == []


FLAGS = {
    "unset": (None, None),
    "skip, allow": (True, True),
    "skip": (True, False),
    "allow": (False, True),
    "neither": (False, False),
}
"""skipInvalidMeasurepoints and allowOfflineSubDevice; what is not set the SDK sends as ""."""

VALID = {"temp": 1}
SITUATIONS: dict[str, tuple[dict[str, dict[str, Any]], dict[str, int]]] = {
    # What is reported for whom (SUB_1 is online, SUB_2 is not), and the code for each pair of flags.
    "all online, all valid": (
        {GATEWAY: {"GW.CPULoad": 1}, SUB_1: VALID},
        {"skip, allow": 200, "skip": 200, "allow": 200, "neither": 200},
    ),
    "one with unknown points": (
        {SUB_1: BROKEN},
        {"skip, allow": 200, "skip": 200, "allow": 1204, "neither": 1204},
    ),
    "one offline": (
        {SUB_1: VALID, SUB_2: VALID},
        {"skip, allow": 200, "skip": 1212, "allow": 200, "neither": 1212},
    ),
    "one offline with unknown points": (
        {SUB_2: BROKEN},
        {"skip, allow": 200, "skip": 1212, "allow": 1204, "neither": 1212},
    ),
    "one offline, another with unknown points": (
        {SUB_2: VALID, SUB_1: BROKEN},
        {"skip, allow": 200, "skip": 1212, "allow": 1204, "neither": 1212},
    ),
}


def batch(points: dict[str, dict[str, Any]], time: int, skip: bool | None, allow: bool | None) -> Any:
    """A batch; for the gateway itself the SDK sends `"deviceKey": ""` and no productKey."""
    builder = MeasurepointResumeBatchRequest.builder()
    for device, values in points.items():
        builder.add_request(resume(None if device == GATEWAY else device, values, time))
    if skip is not None:
        builder.set_skip_invalid_measurepoints(skip)
    if allow is not None:
        builder.set_allow_offline_sub_device(allow)
    return builder.build()


def test_a_batch_with_each_pair_of_flags(hub: Hub, connect: Connect) -> None:
    """Each situation gets the code of the documents' matrix; a refused batch stores nothing, an accepted one all."""
    client = connect()
    assert client.publish(login(SUB_1)).is_success()
    time = itertools.count(1)
    for situation, (points, codes) in SITUATIONS.items():
        for flags, (skip, allow) in FLAGS.items():
            now, expected = next(time), codes.get(flags, codes["neither"])
            response = client.publish(batch(points, now, skip, allow))
            assert (response.get_code(), response.get_data()) == (expected, {}), (situation, flags)
            for device, values in points.items():
                kept = {} if expected != 200 or values == BROKEN else values
                found = {point.measurepoint: point.value for point in hub.points(device) if point.time == now}
                assert found == kept, (situation, flags, device)


def test_a_channel_posts_for_the_devices_of_its_product(hub: Hub, connect: Connect) -> None:
    """Through `%channel%` points of several devices and times are stored; an unknown device refuses the message."""
    client = connect("Sb7PkXyZ/%channel%")
    assert client.is_connected()
    builder = IntMeaturepointPostRequest.builder()
    builder.add_meaturepoint("sub001", 1, {"temp": 1}).add_meaturepoint("sub001", 2, {"temp": 2})
    builder.add_meaturepoint("inv-1", 1, {"temp": 3})
    response = client.publish(builder.build())
    assert (response.get_code(), response.get_data()) == (200, {})
    assert stored(hub, SUB_1) == [("temp", 1, 1), ("temp", 2, 2)]
    assert stored(hub, INVERTER) == [("temp", 1, 3)]
    assert {point.origin for point in hub.points(SUB_1)} == {"integration"}

    unknown = IntMeaturepointPostRequest.builder().add_meaturepoint("inv-1", 9, {"temp": 3})
    assert client.publish(unknown.add_meaturepoint("nobody", 1, {"temp": 1}).build()).get_code() == 1257
    wrong = IntMeaturepointPostRequest.builder().add_meaturepoint("inv-1", 9, {"temp": "warm"})
    assert client.publish(wrong.build()).get_code() == 1204
    assert stored(hub, INVERTER) == [("temp", 1, 3)]


def test_replies_come_after_the_network_was_cut(hub: Hub, connect: Connect) -> None:
    """The SDK connects again by itself and subscribes to nothing anew: it is answered all the same.

    It also logs its sub-devices in again, for which it needs the answers.
    """
    with proxy((hub.host, hub.port)) as network:
        client = connect(via=network)
        assert client.publish(login(SUB_1)).is_success()
        assert client.publish(resume(None, {"GW.CPULoad": 1}, 1)).get_code() == 200
        assert client.publish(resume(SUB_1, {"temp": 1}, 1)).get_code() == 200
        network.cut()
        eventually(lambda: len(network.sent) == 2 and client.is_connected())
        assert client.publish(resume(None, {"GW.CPULoad": 2}, 2)).get_code() == 200
        eventually(lambda: client.publish(resume(SUB_1, {"temp": 2}, 2)).get_code() == 200)
        before, after = ([packet for packet in sent if isinstance(packet, Subscribe)] for sent in network.sent)
        assert before
        assert after == []
    assert stored(hub, GATEWAY) == [("GW.CPULoad", 1, 1), ("GW.CPULoad", 2, 2)]
    assert stored(hub, SUB_1) == [("temp", 1, 1), ("temp", 2, 2)]


@pytest.mark.parametrize("method", [SignUtil.SHA256, SignUtil.SHA1, SignUtil.MD5])
@pytest.mark.parametrize("device", [GATEWAY, "Sb7PkXyZ/%channel%"])
def test_each_sign_method_is_understood(connect: Connect, device: str, method: str) -> None:
    """The SDK signs CONNECT with a plain digest, whatever it calls it."""
    assert connect(device, sign_method=method).is_connected()


def refused(hub: Hub) -> float:
    """How many connections were refused for their credentials."""
    with urllib.request.urlopen(f"{hub.http_url}/metrics", timeout=10) as response:  # noqa: S310 - the hub's own address
        found = re.search(rb'connections_refused_total\{reason="bad_credentials"\} (\S+)', response.read())
    return float(found[1]) if found else 0


def test_a_wrong_secret_is_refused(hub: Hub, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    """connect() comes back after 10 seconds without a word; the client is not connected, the hub says who it was."""
    client = connect(secret="guessed", wait=True)
    assert not client.is_connected()
    # The SDK has paho try again and again meanwhile.
    assert refused(hub) >= 2
    assert any("wrong signature EbxGvUrE/gw-1" in record.getMessage() for record in caplog.records)


PROGRAM = """
import sys
import paho.mqtt
from enos.core.MqttClient import MqttClient
from enos.message.upstream.tsl.MeasurepointPostRequest import MeasurepointPostRequest

url, product, device, secret = sys.argv[1:]
client = MqttClient(url, product, device, secret)
client.connect()
request = MeasurepointPostRequest.builder().add_measurepoint("temp", 21.5).set_timestamp(1).build()
print(paho.mqtt.__version__, client.publish(request).get_code())
client.close()
"""
"""A user's program, in a process of its own."""


def test_a_program_with_paho_1_6_installed(hub: Hub) -> None:
    """Where paho-mqtt 1.6 is all there is, as in an environment that was made for the SDK."""
    folder = fetch_old()
    if folder is None:
        pytest.skip(f"{OLD} cannot be fetched by pip")
    url = f"tcp://{hub.host}:{hub.port}"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, url, *INVERTER.split("/"), SECRETS[INVERTER]],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.stdout == "1.6.1 200\n", done.stderr
    assert stored(hub, INVERTER) == [("temp", 1, 21.5)]
