"""Who takes part in a benchmark: devices and their secrets, in a registry file."""

from __future__ import annotations

import secrets
import tomllib
from collections.abc import Callable

from benchmarks.reports import MODEL
from enos_ingest.protocol.identity import DeviceId

__all__ = ["PRODUCT", "Account", "AccountsError", "make_registry", "read_registry"]

Account = tuple[DeviceId, str]
"""A device and its secret."""

PRODUCT = "BenchInv"


class AccountsError(Exception):
    """A registry file is no use for a workload."""


def make_registry(devices: int, secret: Callable[[int], str] = lambda _: secrets.token_hex(16)) -> str:
    """A registry file of so many devices, with new secrets.

    Args:
        secret: makes the secret of a device from its number.
    """
    lines = ["# Made by a benchmark.", "[[products]]", f'key = "{PRODUCT}"', f'model = "{MODEL}"']
    for number in range(devices):
        lines += ["[[devices]]", f'product = "{PRODUCT}"', f'key = "device-{number}"', f'secret = "{secret(number)}"']
    return "\n".join(lines) + "\n"


def read_registry(text: str, devices: int) -> list[Account]:
    """The first devices of a registry file that may send what a workload sends.

    Raises:
        AccountsError: there are too few, or it is no registry file.
    """
    try:
        document = tomllib.loads(text)
        products = {row["key"] for row in document["products"] if row.get("model") == MODEL}
        found = [
            (DeviceId(row["product"], row["key"]), row["secret"])
            for row in document["devices"]
            if row["product"] in products
        ]
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise AccountsError(f"the registry file cannot be used: {error!r}") from None
    if len(found) < devices:
        raise AccountsError(
            f"the registry file has {len(found)} devices of a product with the model {MODEL}, not {devices}"
        )
    return found[:devices]
