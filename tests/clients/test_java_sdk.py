"""What the official Java SDK sends, byte by byte, and needs: braces in its client id, version 1.1, compression."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import lz4.block
import pytest
import xxhash

from enos_ingest.endpoint.packets import PacketType, encode_ack
from enos_ingest.testing.hub import Hub
from tests.clients.wire import WireClient, connect_bytes, digest
from tests.clients.world import BROKEN, GATEWAY, INVERTER, REGISTRY, SECRETS, SUB_1, SUB_2
from tests.process import PATIENCE

STAMP = "1795221829607"
GATEWAY_TOPIC, SUB_TOPIC = f"/sys/{GATEWAY}/thing", f"/sys/{SUB_1}/thing"
SESSION = f"/ext/session/{GATEWAY}/combine"


@pytest.fixture
def hub(enos_hub: Callable[..., Hub]) -> Hub:
    """A hub with a gateway and its sub-devices."""
    return enos_hub(registry=REGISTRY)


def xxh32(data: bytes) -> int:
    """The checksum of lz4-java's streams: 28 bits."""
    return xxhash.xxh32_intdigest(data, 0x9747B28C) & 0x0FFFFFFF


def lz4_block_stream(data: bytes) -> bytes:
    """What `LZ4BlockOutputStream` writes: blocks of 64 KiB, compressed where that is shorter, and an empty one."""
    stream = b""
    for at in range(0, len(data), 65_536):
        block = data[at : at + 65_536]
        packed = lz4.block.compress(block, store_size=False)
        token, body = (0x26, packed) if len(packed) < len(block) else (0x16, block)
        stream += struct.pack("<8sBIII", b"LZ4Block", token, len(body), len(block), xxh32(block)) + body
    return stream + struct.pack("<8sBIII", b"LZ4Block", 0x16, 0, 0, 0)


def read_lz4_block_stream(stream: bytes) -> bytes:
    """What `LZ4BlockInputStream` reads; it takes a wrong magic, token or checksum for a broken stream."""
    data = b""
    while True:
        magic, token, packed, length, checksum = struct.unpack_from("<8sBIII", stream)
        assert magic == b"LZ4Block"
        body, stream = stream[21 : 21 + packed], stream[21 + packed :]
        if not length:
            assert stream == b""
            return data
        assert token in {0x16, 0x26}
        block = lz4.block.decompress(body, uncompressed_size=length) if token == 0x26 else body
        assert xxh32(block) == checksum
        data += block


PACKERS: dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {
    "DEFAULT": (bytes, bytes),
    "GZIP": (gzip.compress, gzip.decompress),
    "LZ4": (lz4_block_stream, read_lz4_block_stream),
}


class JavaSdk(WireClient):
    """The SDK, connected as a device, or as a product's channel.

    Args:
        compress: what its configuration says.
    """

    def __init__(self, hub: Hub, name: str = GATEWAY, compress: str = "DEFAULT", *, code: int = 0) -> None:
        super().__init__(hub)
        product, _, device = name.partition("/")
        channel = device == "%channel%"
        cid = f"{product if channel else device}{{ip=127.0.0.1,version=enos-mqtt-2.2.16,compress={compress}}}"
        signed = {"clientId": cid, "deviceKey": device, "productKey": product, "timestamp": STAMP}
        password = digest(signed, SECRETS[product if channel else name])
        client_id = f"{cid}|securemode={4 if channel else 2},signmethod=sha256,timestamp={STAMP}|"
        self._packers = PACKERS.get(compress)
        sent = connect_bytes(client_id, f"{device}&{product}", password, clean=True, keep_alive=60)
        assert self.connect(sent) == code

    def pack(self, payload: bytes) -> bytes:
        """As its client id declares."""
        assert self._packers
        return self._packers[0](payload)

    def unpack(self, payload: bytes) -> bytes:
        """As its client id declares."""
        assert self._packers
        return self._packers[1](payload)

    def request(self, topic: str, method: str, params: Any, **fields: Any) -> dict[str, Any]:
        """A request as the SDK makes it: it subscribes first, and waits for SUBACK."""
        assert self.subscribe(f"{topic}_reply", qos=1, packet_id=self.next_packet_id()) == [1]
        return self.ask(topic, method, params, version="1.1", **fields)

    def login(self, device: str) -> dict[str, Any]:
        """Log a sub-device in."""
        return self.request(f"{SESSION}/login", "combine.login", login_params(device))


def login_params(device: str) -> dict[str, Any]:
    """The params of combine.login: everything is text, `cleanSession` is left out."""
    product, _, key = device.partition("/")
    content = {"productKey": product, "deviceKey": key, "clientId": f"{product}.{key}.{STAMP}", "timestamp": STAMP}
    return {**content, "signMethod": "sha256", "sign": digest(content, SECRETS[device]), "secureMode": "2"}


@pytest.fixture
def java(hub: Hub) -> Iterator[JavaSdk]:
    """The SDK as a gateway."""
    with JavaSdk(hub) as client:
        yield client


def test_the_digest_is_the_one_that_was_captured() -> None:
    """Of its CONNECT, with braces in what is signed."""
    content = {
        "clientId": "gw-java{ip=127.0.0.1,version=enos-mqtt-2.2.16,compress=DEFAULT}",
        "deviceKey": "gw-java",
        "productKey": "EbxGvUrE",
        "timestamp": "1795221829607",
    }
    assert digest(content, "GwSecret123") == "ce151850c71bc4d97c8d439976ac6be1871acc29aca0d08d2edbef5d0c3efff2"


def test_points_of_a_gateway_and_its_sub_device(hub: Hub, java: JavaSdk) -> None:
    """Live and of the past; arrays are numbers here, and texts in the documents."""
    assert java.request(f"{SUB_TOPIC}/measurepoint/post", "thing.measurepoint.post", points(temp=1))["code"] == 1212
    data = java.login(SUB_1)["data"]
    assert (data["productKey"], data["deviceKey"]) == tuple(SUB_1.split("/"))
    assert isinstance(data["assetId"], str)
    assert data["assetId"]
    for how in ("post", "resume"):
        for topic, values in (
            (GATEWAY_TOPIC, {"GW.CPULoad": 1.5}),
            (SUB_TOPIC, {"branchCurr": [1.02, 2.02, 7.93], "temp": 20}),
        ):
            # As some of its versions add; files themselves go over HTTP alone.
            files: dict[str, Any] = {"files": {}} if how == "post" else {}
            reply = java.request(f"{topic}/measurepoint/{how}", f"thing.measurepoint.{how}", points(**values), **files)
            assert (reply["code"], reply["data"]) == (200, {})
    assert {(point.measurepoint, point.value) for point in hub.points(GATEWAY)} == {("GW.CPULoad", 1.5)}
    assert [point.value for point in hub.points(SUB_1)] == [[1.02, 2.02, 7.93], 20]


def points(**values: Any) -> dict[str, Any]:
    return {"measurepoints": values, "time": int(STAMP)}


@pytest.mark.parametrize("how", ["post", "resume"])
@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("allow", [True, False])
def test_the_matrix_of_its_batch_sample(hub: Hub, java: JavaSdk, how: str, skip: bool, allow: bool) -> None:
    """Both flags are always there; items of the gateway itself have no keys."""
    java.login(SUB_1)
    online, offline = (dict(zip(("productKey", "deviceKey"), each.split("/"), strict=True)) for each in (SUB_1, SUB_2))
    valid, unknown = {"measurepoints": {"temp": 1}, "time": 1}, {"measurepoints": BROKEN, "time": 1}
    gateway = {"measurepoints": {"GW.CPULoad": 1}, "time": 1}
    flags = {"allowOfflineSubDevice": allow, "skipInvalidMeasurepoints": skip}
    for items, expected in (
        ([gateway, online | valid], True),
        ([gateway, online | unknown], skip),
        ([online | valid, offline | valid], allow),
        ([offline | unknown], skip and allow),
        ([offline | valid, online | unknown], skip and allow),
    ):
        topic, method = f"{GATEWAY_TOPIC}/measurepoint/{how}/batch", f"thing.measurepoint.{how}.batch"
        reply = java.request(topic, method, items, **flags)
        assert (reply["code"] == 200) is expected, items
        assert reply["data"] == {}
    assert bool(hub.points(SUB_2)) is allow


def test_sub_devices_log_in_by_the_batch(java: JavaSdk) -> None:
    """`LoginSuccessResult` insists on the keys and an assetId that is not null; who fails is in the other list."""
    entries = []
    for device, secret in ((SUB_1, SECRETS[SUB_1]), (SUB_2, "guessed")):
        product, _, key = device.partition("/")
        signed = {"productKey": product, "deviceKey": key, "clientId": "EbxGvUrE", "timestamp": STAMP}
        entries.append(
            {"productKey": product, "deviceKey": key, "secureMode": "2", "sign": digest(signed, secret)},
        )
    params = {"clientId": "EbxGvUrE", "timestamp": STAMP, "signMethod": "sha256", "subDevices": entries}
    reply = java.request(f"{SESSION}/login/batch", "combine.login.batch", params)
    assert reply["code"] == 723
    (success,), (failure,) = reply["data"]["loginedSubDevices"], reply["data"]["failedSubDevices"]
    assert all(isinstance(success[name], str) and success[name] for name in ("assetId", "productKey", "deviceKey"))
    assert (failure["productKey"], failure["deviceKey"]) == tuple(SUB_2.split("/"))
    params["subDevices"] = entries[:1]
    reply = java.request(f"{SESSION}/login/batch", "combine.login.batch", params)
    assert (reply["code"], reply["data"]["failedSubDevices"]) == (200, [])
    keys = dict(zip(("productKey", "deviceKey"), SUB_1.split("/"), strict=True))
    reply = java.request(f"{SESSION}/logout", "combine.logout", keys)
    assert (reply["code"], reply["data"]) == (200, keys)


def test_fast_publish_wants_no_reply(hub: Hub, java: JavaSdk) -> None:
    """It unsubscribes from the replies, and gets PUBACK alone; once it asks in the usual way it is answered again."""
    topic = f"{GATEWAY_TOPIC}/measurepoint/post"
    assert java.request(topic, "thing.measurepoint.post", points(**{"GW.CPULoad": 1}))["code"] == 200
    for number in range(3):
        java.unsubscribe(f"{topic}_reply", packet_id=java.next_packet_id())
        message = {
            "id": "9",
            "version": "1.1",
            "method": "thing.measurepoint.post",
            "params": {"measurepoints": {"GW.CPULoad": number}, "time": number},
        }
        java.push(topic, json.dumps(message).encode())
        java.expect(PacketType.PUBACK)
        java.ping()
    assert java.request(topic, "thing.measurepoint.post", points(**{"GW.CPULoad": 4}))["code"] == 200
    assert [point.value for point in hub.points(GATEWAY)] == [0, 1, 2, 4]


@pytest.mark.parametrize(
    ("topic", "method", "params"),
    [
        ("thing/log/post", "thing.log.post", {"logs": {"traceId": "1", "level": "INFO"}, "time": 1}),
        ("network/status/report", "network.status.report", {"reportTime": 1, "rssi": -70}),
        ("connection/state/post", "connection.state.post", {"isFull": True, "nodes": [], "relations": []}),
        ("ota/device/inform", "ota.device.inform", {"version": "1"}),
        ("ota/device/progress", "ota.device.progress", {"step": "20", "desc": ""}),
        ("ota/device/getversion", "ota.device.getversion", {}),
        ("ota/device/request", "ota.device.request", {"version": "1"}),
    ],
)
@pytest.mark.parametrize("qos", [0, 1])
def test_what_is_not_served_is_answered_at_once(
    java: JavaSdk, qos: int, topic: str, method: str, params: dict[str, Any]
) -> None:
    """1009, where it would wait for a minute."""
    java.qos = qos
    assert java.request(f"/sys/{GATEWAY}/{topic}", method, params)["code"] == 1009


def test_attributes_events_and_tags(java: JavaSdk) -> None:
    """Events with QoS 0."""
    for action, params, data in (
        ("attribute/update", {"attributes": {"site": "Hof"}}, {}),
        ("attribute/query", {"attributes": []}, {"site": "Hof"}),
        ("attribute/delete", {"attributes": ["site"]}, {}),
        ("attribute/query", {"attributes": ["site"]}, {}),
        ("tag/update", [{"tagKey": "row", "tagValue": "7"}], {}),
        ("tag/query", {"tags": []}, {"row": "7"}),
        ("tag/delete", {"tags": ["row"]}, {}),
    ):
        reply = java.request(f"{GATEWAY_TOPIC}/{action}", f"thing.{action.replace('/', '.')}", params)
        assert (reply["code"], reply["data"]) == (200, data), action
    java.qos = 0
    event = {"events": {"by": "alice"}, "time": 1}
    assert java.request(f"{GATEWAY_TOPIC}/event/doorOpened/post", "thing.event.doorOpened.post", event)["code"] == 200
    assert java.request(f"{GATEWAY_TOPIC}/event/other/post", "thing.event.other.post", event)["code"] == 1204


def test_the_thing_model(java: JavaSdk) -> None:
    """Its getters read the four maps."""
    data = java.request(f"{GATEWAY_TOPIC}/tsltemplate/get", "thing.tsltemplate.get", {})["data"]
    for name in ("tslAttributeMap", "tslMeasurepointMap", "tslServiceMap", "tslEventMap"):
        assert data[name]


def test_a_channel(hub: Hub) -> None:
    """Securemode 4, with the product's key before the braces."""
    with JavaSdk(hub, "Sb7PkXyZ/%channel%") as java:
        items = [{"deviceKey": "inv-1", "time": 1, "measurepoints": {"temp": 1}}]
        reply = java.request("/sys/Sb7PkXyZ/integration/measurepoint/post", "integration.measurepoint.post", items)
        assert (reply["code"], reply["data"]) == (200, {})
        items = [{"deviceKey": "inv-1", "attributes": {"ratedPower": 50}}]
        reply = java.request("/sys/Sb7PkXyZ/integration/attribute/post", "integration.attribute.post", items)
        assert reply["code"] == 200
    assert [point.value for point in hub.points(INVERTER)] == [1]


@pytest.mark.parametrize("compress", ["GZIP", "LZ4"])
def test_compression_holds_in_both_directions(hub: Hub, compress: str) -> None:
    """Requests, replies, commands and the answers to them; also a sub-device's."""
    application = hub.application()
    with JavaSdk(hub, compress=compress) as java, ThreadPoolExecutor() as calls:
        assert java.login(SUB_1)["code"] == 200
        long = {"branchCurr": [1.25] * 20_000}  # several blocks of a stream
        reply = java.request(f"{SUB_TOPIC}/measurepoint/post", "thing.measurepoint.post", points(**long))
        assert (reply["code"], reply["data"]) == (200, {})
        waiting = calls.submit(application.set_measurepoint, SUB_1, "temp", 1)
        publish = java.message()
        java.send(encode_ack(PacketType.PUBACK, publish.packet_id))
        command = json.loads(java.unpack(publish.payload))
        assert command["params"] == {"temp": 1}
        java.qos = 0
        java.push(
            f"{publish.topic}_reply",
            java.pack(b'{"code":200,"id":"%s","message":""}' % command["id"].encode()),
        )
        assert waiting.result(PATIENCE)["code"] == 0
    assert [point.value for point in hub.points(SUB_1)] == [[1.25] * 20_000]


@pytest.mark.parametrize("compress", ["GZIP", "LZ4"])
def test_what_does_not_decompress(hub: Hub, compress: str) -> None:
    """Refused, in compressed words; the connection goes on."""
    with JavaSdk(hub, compress=compress) as java:
        topic = f"{GATEWAY_TOPIC}/measurepoint/post"
        java.push(topic, b'{"id":"1","version":"1.1","method":"thing.measurepoint.post","params":{}}')
        assert json.loads(java.unpack(java.reply(topic).payload))["code"] == 1206
        values = points(**{"GW.FirmwareVersion": "x" * 600_000})
        assert java.request(topic, "thing.measurepoint.post", values)["code"] == 1206, "too long, once decompressed"
        assert java.request(topic, "thing.measurepoint.post", points(**{"GW.CPULoad": 1}))["code"] == 200


def test_lzo_is_refused(hub: Hub) -> None:
    """Not authorised, as the documents' table of CONNACK has nothing better."""
    with JavaSdk(hub, compress="LZO", code=5) as java:
        assert java.receive() is None
