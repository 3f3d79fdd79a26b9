"""The products, devices and thing models that the cases speak of."""

from __future__ import annotations

from typing import Any

from enos_ingest.protocol.identity import CHANNEL_DEVICE_KEY, Channel, DeviceId, Publisher
from tests.models.documents import point, thing_model

__all__ = [
    "BARE",
    "BARE_SUB",
    "CHANNEL",
    "DEVICES",
    "DIRECT",
    "FREE",
    "GATEWAY",
    "GATEWAYS",
    "METERS",
    "MODELS",
    "NEIGHBOUR",
    "NEIGHBOURS_SUB",
    "REGISTRY",
    "SHARED",
    "SOLO",
    "SUB_1",
    "SUB_2",
    "SUB_3",
    "identity",
    "secret_of",
]

GATEWAYS = "EbxGvUrE"
METERS = "Sb7PkXyZ"
MODELLESS = "Nm0delXx"

GATEWAY = f"{GATEWAYS}/gw-1"
NEIGHBOUR = f"{GATEWAYS}/gw-2"
DIRECT = f"{GATEWAYS}/direct"
"""Belongs to no gateway and is none."""
SUB_1, SUB_2, SUB_3 = f"{METERS}/sub-1", f"{METERS}/sub-2", f"{METERS}/sub-3"
SOLO = f"{METERS}/solo"
"""A sub-device of the gateway that holds a connection of its own, and is never logged in by the gateway."""
SHARED = f"{METERS}/shared"
"""In the topology of both gateways."""
NEIGHBOURS_SUB = f"{METERS}/sub-9"
FREE = f"{METERS}/free"
"""Of the sub-devices' product, but of no gateway."""
BARE = f"{MODELLESS}/bare"
"""Its product has no thing model."""
BARE_SUB = f"{MODELLESS}/bare-sub"

CHANNEL = f"{GATEWAYS}/{CHANNEL_DEVICE_KEY}"

_SUB_DEVICES = [SUB_1, SUB_2, SUB_3, SOLO, SHARED, BARE_SUB]

DEVICES = [GATEWAY, NEIGHBOUR, DIRECT, NEIGHBOURS_SUB, FREE, BARE, *_SUB_DEVICES]


def secret_of(name: str) -> str:
    """The secret of a device `PRODUCT/DEVICE`, or of a product."""
    return f"secret of {name}"


def _device(name: str) -> dict[str, str]:
    product, _, key = name.partition("/")
    return {"product": product, "key": key, "secret": secret_of(name)}


REGISTRY: dict[str, Any] = {
    "products": [
        {"key": GATEWAYS, "secret": secret_of(GATEWAYS), "model": "gateway"},
        {"key": METERS, "secret": secret_of(METERS), "model": "meter"},
        {"key": MODELLESS, "secret": secret_of(MODELLESS)},
    ],
    "devices": [_device(name) for name in DEVICES],
    "gateways": [
        {"device": GATEWAY, "sub_devices": _SUB_DEVICES},
        {"device": NEIGHBOUR, "sub_devices": [NEIGHBOURS_SUB, SHARED]},
    ],
}


def _array(item_type: str, **more: object) -> dict[str, Any]:
    return point("ARRAY", {"itemType": item_type, **more})


_STRUCT = {
    "items": [
        point("INT", identifier="count", required=True, minimum=0),
        point("STRING", {"maxLength": 4}, identifier="unit"),
        point("DOUBLE", identifier="sum"),
    ]
}

_COMMON = {
    "temp": point("FLOAT"),
    "Power": point("INT", hasQuality=True),
    "branchCurr": _array("FLOAT"),
}
"""The points of the documents' own samples."""

MODELS: list[dict[str, Any]] = [
    thing_model(
        "gateway",
        **_COMMON,
        **{
            "int": point("INT"),
            "double": point("DOUBLE"),
            "string": point("STRING"),
            "string4": point("STRING", {"maxLength": 4}),
            "bool": point("BOOL"),
            "enum": point("ENUM", {"enumType": "INT", "enumDesc": {"0": {}, "1": {}, "-7": {}}}),
            "enumText": point("ENUM", {"enumType": "STRING", "enumDesc": {"on": {}, "off": {}}}),
            "ints": _array("INT"),
            "doubles": _array("DOUBLE"),
            "strings": _array("STRING"),
            "bools": _array("BOOL"),
            "struct": point("STRUCT", _STRUCT),
            "date": point("DATE"),
            "timestamp": point("TIMESTAMP"),
            "file": point("FILE"),
            "percent": point("INT", minimum=0, maximum=100),
            "doubleQ": point("DOUBLE", hasQuality=True),
            "structQ": point("STRUCT", _STRUCT, hasQuality=True),
            "INV.GenActivePW": point("DOUBLE"),
        },
    ),
    thing_model("meter", **_COMMON, energy=point("DOUBLE")),
]


def identity(name: str) -> Publisher:
    """`PRODUCT/DEVICE` as a device, `PRODUCT/%channel%` as a channel."""
    product_key, _, device_key = name.partition("/")
    return Channel(product_key) if device_key == CHANNEL_DEVICE_KEY else DeviceId(product_key, device_key)
