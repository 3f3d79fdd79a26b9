"""What the official C SDK sends, byte by byte, and needs: QoS 0, clean_session 0, filter after filter, ids from 0."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest

from enos_ingest.testing.hub import Hub
from tests.clients.wire import WireClient, connect_bytes, digest
from tests.clients.world import BROKEN, GATEWAY, INVERTER, REGISTRY, SECRETS, SUB_1, SUB_2
from tests.process import next_millisecond

STAMP = "2524608000000"
"""In 2050; the SDK has no other."""
THING = f"/sys/{GATEWAY}/thing"
SUB_THING = f"/sys/{SUB_1}/thing"
SESSION = f"/ext/session/{GATEWAY}"

DEVICE_FILTERS = (
    "service/measurepoint/set",
    "service/measurepoint/get",
    "service/+",
    "measurepoint/post_reply",
    "measurepoint/post/batch_reply",
    "measurepoint/resume_reply",
    "measurepoint/resume/batch_reply",
    "event/+/post_reply",
    "attribute/update_reply",
    "attribute/query_reply",
    "attribute/delete_reply",
    "model/down_raw",
    "model/up_raw_reply",
    "enable",
    "disable",
    "delete",
)
GATEWAY_FILTERS = ("tag/update_reply", "tag/query_reply", "tag/delete_reply", "device/register_reply")
TOPOLOGY_FILTERS = ("topo/add_reply", "topo/delete_reply", "topo/get_reply")
SESSION_FILTERS = ("login_reply", "login/batch_reply", "logout_reply", "enable", "disable")
"""The families of those that it asks for, one packet each: 28 for itself, 15 for each sub-device."""


@pytest.fixture
def hub(enos_hub: Callable[..., Hub]) -> Hub:
    """A hub with a gateway and its sub-devices."""
    return enos_hub(registry=REGISTRY)


class CSdk(WireClient):
    """The SDK, connected as a gateway, and through with its subscriptions."""

    def __init__(self, hub: Hub, name: str = GATEWAY) -> None:
        super().__init__(hub, qos=0, first_id=0)
        product, _, device = name.partition("/")
        cid = f"{product}.{device}"
        password = digest(signed(name, cid), SECRETS[name], upper=True)
        client_id = f"{cid}|securemode=2,signmethod=sha256,timestamp={STAMP}|"
        assert self.connect(connect_bytes(client_id, f"{device}&{product}", password, clean=False, keep_alive=60)) == 0

    def start(self) -> None:
        """The 28 filters that a gateway asks for before it is usable."""
        filters = [
            *(f"{THING}/{each}" for each in (*DEVICE_FILTERS, *GATEWAY_FILTERS, *TOPOLOGY_FILTERS)),
            *(f"{SESSION}/combine/{each}" for each in SESSION_FILTERS),
        ]
        assert len(filters) == 28
        self.subscribe_one_by_one(filters)

    def subscribe_one_by_one(self, filters: list[str]) -> None:
        """One filter a packet; a build of it waits 100 ms after each."""
        for each in filters:
            assert self.subscribe(each, packet_id=self.next_packet_id()) == [0], each

    def reply_to(self, topic: str, method: str, params: Any, **fields: Any) -> dict[str, Any]:
        """A request and its reply, as far as the SDK reads that: `id` is text of digits, `data` is there.

        A reply whose `data` holds a text it drops, but where it looks for just that.
        """
        found = self.ask(topic, method, params, **fields)
        if "/measurepoint/" in topic:
            assert not any(isinstance(value, str) for value in found["data"].values())
        return found


def signed(device: str, client_id: str) -> dict[str, str]:
    """What a digest is made of."""
    product, _, key = device.partition("/")
    return {"clientId": client_id, "deviceKey": key, "productKey": product, "timestamp": STAMP}


def keys(device: str) -> dict[str, str]:
    return dict(zip(("productKey", "deviceKey"), device.split("/"), strict=True))


def login_params(device: str, secret: str = "") -> dict[str, str]:
    """The params of combine.login: `Sha256`, cleanSession as text, no secureMode."""
    content = signed(device, device.replace("/", ""))
    sign = digest(content, secret or SECRETS[device], upper=True)
    return {**content, "signMethod": "Sha256", "sign": sign, "cleanSession": "true"}


@pytest.fixture
def c(hub: Hub) -> Iterator[CSdk]:
    """The SDK as a gateway."""
    with CSdk(hub) as client:
        client.start()
        yield client


def test_the_digest_is_the_one_that_was_captured() -> None:
    """Of its CONNECT."""
    content = signed("EbxGvUrE/gw-c", "EbxGvUrE.gw-c")
    expected = "79E1F0A5EA51ADF6F5B54A82269D55E0483C11C07443C4264BC3B36E343A40F8"
    assert digest(content, "GwSecret123", upper=True) == expected


def test_points_with_qos_0(hub: Hub, c: CSdk) -> None:
    """The first request has the id 0; times are absent, or such as no clock shows."""
    for how, values, code in (
        ("post", {"GW.CPULoad": 1}, 200),
        ("post", BROKEN, 1204),
        ("resume", {"GW.CPULoad": 2}, 200),
    ):
        reply = c.reply_to(f"{THING}/measurepoint/{how}", f"thing.measurepoint.{how}", {"measurepoints": values})
        assert (reply["code"], reply["data"]) == (code, {})
        next_millisecond()
    odd = {"measurepoints": {"GW.CPULoad": 3}, "time": 86_400_123}
    assert c.reply_to(f"{THING}/measurepoint/resume", "thing.measurepoint.resume", odd)["code"] == 200
    assert sorted(point.value for point in hub.points(GATEWAY)) == [1, 2, 3]
    assert hub.points(GATEWAY)[0].time == 86_400_123


def test_a_batch_for_itself_and_a_sub_device(hub: Hub, c: CSdk) -> None:
    """Without flags, and without keys where it means itself."""
    items = [{"measurepoints": {"GW.CPULoad": 1}}, {**keys(SUB_1), "measurepoints": {"temp": 1}}]
    for how in ("post", "resume"):
        topic, method = f"{THING}/measurepoint/{how}/batch", f"thing.measurepoint.{how}.batch"
        assert c.reply_to(topic, method, items)["code"] == 1212
    assert c.reply_to(f"{SESSION}/combine/login", "combine.login", login_params(SUB_1))["code"] == 200
    for how in ("post", "resume"):
        topic, method = f"{THING}/measurepoint/{how}/batch", f"thing.measurepoint.{how}.batch"
        assert c.reply_to(topic, method, items)["code"] == 200
        next_millisecond()
    assert [len(hub.points(device)) for device in (GATEWAY, SUB_1)] == [2, 2]


def test_a_sub_device(hub: Hub, c: CSdk) -> None:
    """It finds both keys in the replies to login and logout, or takes them for failed; then asks for 15 filters."""
    reply = c.reply_to(f"{SESSION}/combine/login", "combine.login", login_params(SUB_1))
    assert reply["code"] == 200
    assert reply["data"].items() >= keys(SUB_1).items()
    c.subscribe_one_by_one([f"{SUB_THING}/{each}" for each in DEVICE_FILTERS[:15]])
    reply = c.reply_to(f"{SUB_THING}/measurepoint/post", "thing.measurepoint.post", {"measurepoints": {"temp": 1}})
    assert reply["code"] == 200
    reply = c.reply_to(f"{SUB_THING}/event/gridFault/post", "thing.event.gridFault.post", {"events": {"code": 1}})
    assert (reply["code"], reply["data"]) == (200, {})
    reply = c.reply_to(f"{SESSION}/combine/logout", "combine.logout", keys(SUB_1))
    assert (reply["code"], reply["data"]) == (200, keys(SUB_1))
    for device in (SUB_2, INVERTER, "Sb7PkXyZ/nobody"):
        # A refusal without the keys it drops, and its program waits for 10 seconds.
        reply = c.reply_to(f"{SESSION}/combine/login", "combine.login", login_params(device, "guessed"))
        code = {SUB_2: 742, INVERTER: 740}.get(device, 705)
        assert (reply["code"], reply["data"]) == (code, keys(device))
    assert len(hub.points(SUB_1)) == 1


def test_sub_devices_log_in_by_the_batch(c: CSdk) -> None:
    """Items are the keys and the sign. Both lists are in the reply, or it drops that."""

    def item(device: str) -> dict[str, str]:
        return {**keys(device), "sign": digest(signed(device, "EbxGvUrE"), SECRETS[device], upper=True)}

    params = {"clientId": "EbxGvUrE", "timestamp": STAMP, "signMethod": "Sha256", "cleanSession": "true"}
    for devices, code, counts in (([SUB_1, SUB_2], 200, [2, 0]), ([SUB_1, INVERTER], 723, [1, 1])):
        entries = {"subDevices": [item(device) for device in devices]}
        reply = c.reply_to(f"{SESSION}/combine/login/batch", "combine.login.batch", params | entries)
        assert reply["code"] == code
        assert [len(reply["data"][name]) for name in ("loginedSubDevices", "failedSubDevices")] == counts


def test_filters_of_others_are_refused(c: CSdk) -> None:
    """Those of another device, and of everything; a build option's `/sys/+/+/...` means its own."""
    assert c.subscribe(f"/sys/{INVERTER}/thing/service/+") == [0x80]
    assert c.subscribe("#") == [0x80]
    assert c.subscribe("/sys/+/+/thing/event/+/post_reply") == [0]


def test_it_comes_back_to_a_session_that_is_new(hub: Hub, c: CSdk) -> None:
    """It asks for no clean session and subscribes anew: it is told in CONNACK that nothing was kept."""
    with WireClient(hub, qos=0) as again:
        cid = GATEWAY.replace("/", ".")
        product, _, device = GATEWAY.partition("/")
        password = digest(signed(GATEWAY, cid), SECRETS[GATEWAY], upper=True)
        client_id = f"{cid}|securemode=2,signmethod=sha256,timestamp={STAMP}|"
        again.send(connect_bytes(client_id, f"{device}&{product}", password, clean=False, keep_alive=60))
        connack = again.receive()
        assert connack is not None
        assert connack.body == b"\x00\x00"
        assert c.receive() is None, "its place is taken"


def test_dynamic_activation(enos_hub: Callable[..., Hub]) -> None:
    """With clean_session 1 this time. It looks for the text deviceSecret, takes the string behind, and hangs up."""
    gateways, inverters = REGISTRY["products"]
    products = [gateways, {**inverters, "dynamic_activation": True}]
    devices = [*REGISTRY["devices"], {"product": "Sb7PkXyZ", "key": "new-1"}]
    hub = enos_hub(registry={**REGISTRY, "products": products, "devices": devices})
    name, cid = "Sb7PkXyZ/new-1", "Sb7PkXyZ.new-1"
    with WireClient(hub, qos=0) as client:
        password = digest(signed(name, cid), SECRETS["Sb7PkXyZ"], upper=True)
        client_id = f"{cid}|securemode=3,signmethod=sha256,timestamp={STAMP}|"
        assert client.connect(connect_bytes(client_id, "new-1&Sb7PkXyZ", password, clean=True, keep_alive=60)) == 0
        publish = client.message()
    assert publish.topic == f"/ext/session/{name}/thing/activate/info"
    secret = publish.payload.partition(b'"deviceSecret":"')[2].partition(b'"')[0].decode()
    assert len(secret) in range(1, 65), "its buffer"
    assert orjson.loads(publish.payload)["params"]["deviceSecret"] == secret
    with WireClient(hub, qos=0) as client:
        password = digest(signed(name, cid), secret, upper=True)
        client_id = f"{cid}|securemode=2,signmethod=sha256,timestamp={STAMP}|"
        assert client.connect(connect_bytes(client_id, "new-1&Sb7PkXyZ", password, clean=False, keep_alive=60)) == 0
