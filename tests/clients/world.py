"""The plant that real clients report from: a gateway, two sub-devices, a device of its own, people who watch."""

from __future__ import annotations

from typing import Any

__all__ = ["BROKEN", "GATEWAY", "INVERTER", "OPERATORS", "REGISTRY", "SECRETS", "SUB_1", "SUB_2"]

GATEWAY = "EbxGvUrE/gw-1"
SUB_1, SUB_2 = "Sb7PkXyZ/sub001", "Sb7PkXyZ/sub002"
INVERTER = "Sb7PkXyZ/inv-1"
"""A device that belongs to no gateway."""

SECRETS = {
    "EbxGvUrE": "gateway-product-secret",
    "Sb7PkXyZ": "inverter-product-secret",
    GATEWAY: "gateway-secret",
    SUB_1: "sub-secret-1",
    SUB_2: "sub-secret-2",
    INVERTER: "inverter-secret",
}

BROKEN = {"Sub.Unknown": 1}
"""Points that no thing model knows."""

REGISTRY: dict[str, Any] = {
    "products": [
        {"key": "EbxGvUrE", "secret": SECRETS["EbxGvUrE"], "model": "gateway"},
        {"key": "Sb7PkXyZ", "secret": SECRETS["Sb7PkXyZ"], "model": "inverter"},
    ],
    "devices": [
        {"product": name.partition("/")[0], "key": name.partition("/")[2], "secret": SECRETS[name]}
        for name in (GATEWAY, SUB_1, SUB_2, INVERTER)
    ],
    "gateways": [{"device": GATEWAY, "sub_devices": [SUB_1, SUB_2]}],
}

OPERATORS: dict[str, Any] = {
    "operators": [
        {"name": "alice", "password": "choose-your-own", "scopes": ["read", "write"]},
        {"name": "bob", "password": "only-looks", "scopes": ["read"]},
    ]
}
"""Apart, because a test waits for the hash of each password."""
