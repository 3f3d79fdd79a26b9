"""What the official SDK for Node.js sends, byte by byte, and needs: upper-case digests, timestamps as numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest

from enos_ingest.testing.hub import Hub
from tests.clients.wire import WireClient, connect_bytes, digest
from tests.clients.world import BROKEN, GATEWAY, REGISTRY, SECRETS, SUB_1, SUB_2
from tests.process import next_millisecond

STAMP = 1795221828027
GATEWAY_TOPIC, SUB_TOPIC = f"/sys/{GATEWAY}/thing", f"/sys/{SUB_1}/thing"
SESSION = f"/ext/session/{GATEWAY}/combine"


@pytest.fixture
def hub(enos_hub: Callable[..., Hub]) -> Hub:
    """A hub with a gateway and its sub-devices."""
    return enos_hub(registry=REGISTRY)


class NodeSdk(WireClient):
    """The SDK, connected as a device; a hub that it connects to again gets the same timestamp and password."""

    def __init__(self, hub: Hub, name: str = GATEWAY) -> None:
        super().__init__(hub)
        product, _, device = name.partition("/")
        password = digest(signed(name, device, STAMP), SECRETS[name], upper=True)
        client_id = f"{device}|securemode=2,signmethod=sha256,timestamp={STAMP}|"
        assert self.connect(connect_bytes(client_id, f"{device}&{product}", password, clean=True, keep_alive=60)) == 0

    def request(self, topic: str, method: str, params: Any, **fields: Any) -> dict[str, Any]:
        """A request as the SDK makes it: it subscribes to the reply first, with QoS 1."""
        assert self.subscribe(f"{topic}_reply", qos=1, packet_id=self.next_packet_id()) == [1]
        return self.ask(topic, method, params, **fields)

    def login(self, device: str, secret: str = "", **fields: Any) -> dict[str, Any]:
        """Log a sub-device in: the timestamp is a number, there is no secureMode."""
        product, _, key = device.partition("/")
        params = {
            "productKey": product,
            "deviceKey": key,
            "clientId": key,
            "timestamp": STAMP,
            "signMethod": "sha256",
            "sign": digest(signed(device, key, STAMP), secret or SECRETS[device], upper=True),
            **fields,
        }
        return self.request(f"{SESSION}/login", "combine.login", params)


def signed(device: str, client_id: str, stamp: int) -> dict[str, str]:
    """What a digest is made of."""
    product, _, key = device.partition("/")
    return {"clientId": client_id, "deviceKey": key, "productKey": product, "timestamp": str(stamp)}


def keys(device: str) -> dict[str, str]:
    return dict(zip(("productKey", "deviceKey"), device.split("/"), strict=True))


@pytest.fixture
def node(hub: Hub) -> Iterator[NodeSdk]:
    """The SDK as a gateway."""
    with NodeSdk(hub) as client:
        yield client


@pytest.mark.parametrize(
    ("device", "client_id", "stamp", "secret", "expected"),
    [
        (
            "EbxGvUrE/gw-node",
            "gw-node",
            1795221828027,
            "GwSecret123",
            "542420CEC6BA5F1CB6DF888F4CCE6C188FEE2BCFEE3E681434DF483E64134355",
        ),
        (
            "Sb7PkXyZ/sub001",
            "sub001",
            1795221828072,
            "SubSecret456",
            "BA90E46F21A16A3AD91E68653F220250291ED6C697D454EFA27571D7A57F8026",
        ),
        (
            "Sb7PkXyZ/sub001",
            "EbxGvUrE",
            1795221828598,
            "SubSecret456",
            "52DBE131564B2F9800E7C9EFE519933C2F41296B9E88DE54ADF0795045FD9518",
        ),
    ],
    ids=["CONNECT", "login", "batch"],
)
def test_the_digests_are_those_that_were_captured(
    device: str, client_id: str, stamp: int, secret: str, expected: str
) -> None:
    """Of its CONNECT, of a login and of a login in a batch."""
    assert digest(signed(device, client_id, stamp), secret, upper=True) == expected


def test_points_of_a_gateway_and_its_sub_device(hub: Hub, node: NodeSdk) -> None:
    """What is whole it sends as an integer, also for a point of floating numbers; times may be absent."""
    assert node.request(f"{SUB_TOPIC}/measurepoint/resume", "thing.measurepoint.resume", points(temp=1))["code"] == 1212
    reply = node.login(SUB_1)
    assert reply["code"] == 200
    assert reply["data"].items() >= keys(SUB_1).items()
    assert isinstance(reply["data"]["assetId"], str)
    for how in ("post", "resume"):
        reply = node.request(f"{SUB_TOPIC}/measurepoint/{how}", f"thing.measurepoint.{how}", points(temp=3))
        assert (reply["code"], reply["data"]) == (200, {})
        reply = node.request(f"{SUB_TOPIC}/measurepoint/{how}", f"thing.measurepoint.{how}", points(**BROKEN))
        assert reply["code"] == 1204
        next_millisecond()
    assert [point.value for point in hub.points(SUB_1)] == [3, 3]


def points(**values: Any) -> dict[str, Any]:
    return {"measurepoints": values}


def test_a_login_with_a_flag_as_text(node: NodeSdk) -> None:
    """`cleanSession` is there only if it was asked for, and text then; a second login is as good as the first."""
    assert node.login(SUB_1, cleanSession="true")["code"] == 200
    assert node.login(SUB_1)["code"] == 200
    assert node.login(SUB_1, "guessed")["code"] == 742


@pytest.mark.parametrize("how", ["post", "resume"])
def test_its_gateway_tests(hub: Hub, node: NodeSdk, how: str) -> None:
    """Two sub-devices, valid points beside an unknown one, items without time, on the gateway's topic."""
    assert {node.login(device)["code"] for device in (SUB_1, SUB_2)} == {200}
    topic, method = f"{GATEWAY_TOPIC}/measurepoint/{how}/batch", f"thing.measurepoint.{how}.batch"
    items = [
        {**keys(SUB_1), "measurepoints": {"temp": 1, **BROKEN}},
        {**keys(SUB_2), "measurepoints": {"temp": 2}},
        {"measurepoints": {"GW.CPULoad": 3}},
    ]
    for skip, code in ((False, 1204), (True, 200)):
        reply = node.request(topic, method, items, allowOfflineSubDevice=False, skipInvalidMeasurepoints=skip)
        assert (reply["code"], reply["data"]) == (code, {})
    assert [hub.points(device)[0].value for device in (SUB_1, SUB_2, GATEWAY)] == [1, 2, 3]
    unknown = [{**keys(SUB_1), "measurepoints": BROKEN}]
    reply = node.request(topic, method, unknown, allowOfflineSubDevice=False, skipInvalidMeasurepoints=True)
    assert reply["code"] == 200


@pytest.mark.parametrize("how", ["post", "resume"])
def test_a_batch_on_a_sub_device_s_topic(hub: Hub, node: NodeSdk, how: str) -> None:
    """Its `deviceInfo` option: items without keys are the sub-device's."""
    assert node.login(SUB_1)["code"] == 200
    flags = {"allowOfflineSubDevice": False, "skipInvalidMeasurepoints": False}
    topic, items = f"{SUB_TOPIC}/measurepoint/{how}/batch", [{"measurepoints": {"temp": 1}, "time": 1}]
    assert node.request(topic, f"thing.measurepoint.{how}.batch", items, **flags)["code"] == 200
    assert [point.time for point in hub.points(SUB_1)] == [1]


def test_sub_devices_log_in_by_the_batch(node: NodeSdk) -> None:
    """secureMode is a number here. A good one and one that does not exist: not 200, one in each list."""

    def item(device: str, secret: str) -> dict[str, Any]:
        sign = digest(signed(device, "EbxGvUrE", STAMP), secret, upper=True)
        return {**keys(device), "secureMode": 2, "sign": sign}

    params = {
        "clientId": "EbxGvUrE",
        "timestamp": str(STAMP),
        "signMethod": "sha256",
        "subDevices": [item(SUB_1, SECRETS[SUB_1]), item("Sb7PkXyZ/nobody", "any")],
    }
    reply = node.request(f"{SESSION}/login/batch", "combine.login.batch", params)
    assert reply["code"] == 723
    assert [len(reply["data"][name]) for name in ("loginedSubDevices", "failedSubDevices")] == [1, 1]


def test_logout(node: NodeSdk) -> None:
    """With the keys in the reply, also for a sub-device that nobody knows."""
    assert node.login(SUB_1)["code"] == 200
    for device in (SUB_1, SUB_2, "Sb7PkXyZ/nobody"):
        reply = node.request(f"{SESSION}/logout", "combine.logout", keys(device))
        assert (reply["code"], reply["data"]) == (200, keys(device))
    assert node.request(f"{SUB_TOPIC}/measurepoint/post", "thing.measurepoint.post", points(temp=1))["code"] == 1212


def test_events_attributes_and_tags(node: NodeSdk) -> None:
    """Events with the QoS of everything else, and without a time."""
    assert node.login(SUB_1)["code"] == 200
    for action, method, params, code in (
        ("event/gridFault/post", "event.gridFault.post", {"events": {"code": 1}}, 200),
        ("event/unknown/post", "event.unknown.post", {"events": {"code": 1}}, 1204),
        ("attribute/update", "attribute.update", {"attributes": {"ratedPower": 5}}, 200),
        ("attribute/query", "attribute.query", {"attributes": ["ratedPower"]}, 200),
        ("attribute/delete", "attribute.delete", {"attributes": ["ratedPower"]}, 200),
        ("tag/update", "tag.update", [{"tagKey": "a", "tagValue": "b"}], 200),
        ("tag/query", "tag.query", {"tags": ["a"]}, 200),
        ("tag/delete", "tag.delete", {"tags": ["a"]}, 200),
    ):
        assert node.request(f"{SUB_TOPIC}/{action}", f"thing.{method}", params)["code"] == code, action


def test_bytes_of_a_product_without_a_codec_are_answered(node: NodeSdk) -> None:
    """`upRawModel` hands on whatever comes on the topic of the reply, and waits for ever where nothing does."""
    topic = f"{GATEWAY_TOPIC}/model/up_raw"
    assert node.subscribe(f"{topic}_reply", qos=1, packet_id=node.next_packet_id()) == [1]
    node.push(topic, bytes((1, 2, 3)))
    assert orjson.loads(node.reply(topic).payload)["code"] == 1009


def test_it_comes_back_with_the_same_timestamp(hub: Hub) -> None:
    """mqtt.js connects again with the client id and password of before, however old, and takes its place."""
    with NodeSdk(hub) as first, NodeSdk(hub) as second:
        assert first.receive() is None
        reply = second.request(
            f"{GATEWAY_TOPIC}/measurepoint/post", "thing.measurepoint.post", points(**{"GW.CPULoad": 1})
        )
        assert reply["code"] == 200
