"""A small site for tests of the endpoint: a gateway with a sub-device, strangers to it, operators."""

from __future__ import annotations

import urllib.request
from typing import TYPE_CHECKING, Any

import orjson

from enos_ingest.devices.passwords import hash_password
from enos_ingest.protocol.credentials import Credentials
from tests.models.documents import point, thing_model

if TYPE_CHECKING:
    from enos_ingest.testing.hub import Hub

__all__ = ["MODELS", "REGISTRY", "metric", "operator", "resume", "resume_topic"]

MODELS = [thing_model("m", n=point("INT"), text=point("STRING", {"maxLength": 100_000}))]

REGISTRY: dict[str, Any] = {
    "products": [{"key": "P", "secret": "PSecret", "model": "m"}, {"key": "Q", "model": "m"}],
    "devices": [
        *({"product": "P", "key": key, "secret": f"{key}-secret"} for key in ("gw", "sub", "alone", "other")),
        {"product": "P", "key": "off", "secret": "off-secret", "enabled": False},
    ],
    "gateways": [{"device": "P/gw", "sub_devices": ["P/sub"]}],
    "operators": [
        {"name": name, "password_hash": hash_password(f"{name}-password"), "scopes": scopes}
        for name, scopes in (("alice", ["read", "write"]), ("reader", ["read"]), ("writer", ["write"]))
    ],
}


def operator(name: str) -> Credentials:
    """What an operator puts into CONNECT; the client id is made by the hub."""
    return Credentials("", name, f"{name}-password")


def resume_topic(device: str) -> str:
    """Where `P/device` reports."""
    return f"/sys/P/{device}/thing/measurepoint/resume"


def resume(value: object, *, name: str = "n", time: int = 1, identifier: str = "1") -> bytes:
    """A report of one point."""
    return orjson.dumps(
        {
            "id": identifier,
            "version": "1.0",
            "method": "thing.measurepoint.resume",
            "params": {"measurepoints": {name: value}, "time": time},
        }
    )


def metric(hub: Hub, name: str) -> float:
    """The sum of a metric over its labels, as Prometheus would read it."""
    with urllib.request.urlopen(f"{hub.http_url}/metrics") as response:  # noqa: S310 - our own hub
        lines = response.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.partition("{")[0].partition(" ")[0] == name)
