"""A product with one device, for services that are processes of their own."""

from __future__ import annotations

from pathlib import Path

DEVICE, SECRET = "EbxGvUrE/inv-1", "a-device-secret"
REGISTRY = f"""
[[products]]
key = "EbxGvUrE"
secret = "a-product-secret"
model = "inverter"
[[devices]]
product = "EbxGvUrE"
key = "inv-1"
secret = "{SECRET}"
"""


def database(config: Path) -> Path:
    return config.parent / "data" / "hub.db"
