"""Products and devices that may be activated or not, and what they put into CONNECT and into logins."""

from __future__ import annotations

from typing import Any

import orjson

from enos_ingest.devices.passwords import hash_password
from enos_ingest.endpoint.packets import Publish
from enos_ingest.protocol.credentials import Credentials, make_credentials, sign
from enos_ingest.protocol.identity import DeviceId
from tests.endpoint.raw import RawClient, connect_packet

REGISTRY: dict[str, Any] = {
    "products": [
        {"key": "P", "secret": "PSecret", "model": "m", "dynamic_activation": True, "register": True},
        {"key": "A", "secret": "ASecret", "model": "m", "dynamic_activation": True, "allow_reactivation": True},
        {"key": "N", "secret": "NSecret", "model": "m"},
        {"key": "T", "secret": "TSecret", "model": "m", "dynamic_activation": True, "require_tls": True},
    ],
    "devices": [
        {"product": "P", "key": "new"},
        {"product": "P", "key": "known", "secret": "known-secret"},
        {"product": "P", "key": "off", "enabled": False},
        {"product": "P", "key": "gw", "secret": "gw-secret"},
        {"product": "P", "key": "sub"},
        {"product": "P", "key": "sub-2", "secret": "sub-2-secret"},
        {"product": "A", "key": "again"},
        {"product": "A", "key": "sub"},
        {"product": "N", "key": "plain", "secret": "plain-secret"},
        {"product": "N", "key": "sub", "secret": "sub-secret"},
        {"product": "T", "key": "careful"},
        {"product": "T", "key": "sub", "secret": "sub-secret"},
    ],
    "gateways": [{"device": "P/gw", "sub_devices": ["P/sub", "P/sub-2", "A/sub", "N/sub", "T/sub"]}],
    "operators": [{"name": "alice", "password_hash": hash_password("alice-password"), "scopes": ["read", "write"]}],
}


def mode_3(product: str, key: str, secret: str = "", declared: str = "") -> Credentials:
    """What a device puts into CONNECT that knows its product's secret alone."""
    signed = key + declared
    content = f"clientId{signed}deviceKey{key}productKey{product}timestamp1"
    client_id = f"{signed}|securemode=3,signmethod=sha256,timestamp=1|"
    return Credentials(client_id, f"{key}&{product}", sign(secret or f"{product}Secret", content))


def mode_2(product: str, key: str, secret: str) -> Credentials:
    """What it puts there with its own."""
    return make_credentials(DeviceId(product, key), secret, 1)


def activated(client: RawClient, who: Credentials) -> tuple[Publish, dict[str, Any]]:
    """Connect with the product's secret; what the device is told."""
    assert client.connect(connect_packet(who)) == 0
    said = client.message()
    return said, orjson.loads(said.payload)


def login(sub_device: str, secret: str = "", *, mode: int | str = 2, batch: bool = False) -> bytes:
    """A combine.login, signed with the product's secret where no other is given; a batch names the sub-device twice."""
    product, _, key = sub_device.partition("/")
    content = f"clientIdcdeviceKey{key}productKey{product}timestamp1"
    params: dict[str, Any] = {
        "productKey": product,
        "deviceKey": key,
        "secureMode": mode,
        "sign": sign(secret or f"{product}Secret", content),
    }
    common = {"clientId": "c", "timestamp": "1", "signMethod": "sha256"}
    if batch:
        params = {**common, "subDevices": [params, params]}
    else:
        params |= common
    method = "combine.login.batch" if batch else "combine.login"
    return orjson.dumps({"id": "1", "version": "1.0", "method": method, "params": params})
