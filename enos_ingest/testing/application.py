"""Business software in a test: an application of the registry that calls the REST API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import orjson

from enos_ingest.http.client import RestClient

__all__ = ["TestApplication"]

Query: TypeAlias = Mapping[str, str | int]

_SECONDS = 30.0
"""How much longer than its own time a call may take."""


class TestApplication:
    """An application with an API key; every call returns the envelope, `{"code": 0, "data": {...}}` or why not.

    A device is `PRODUCT/DEVICE`. With `pending_ttl`, in seconds, a command waits for a device that is offline, and the
    call returns at once; without it the call returns once the device has answered.
    """

    __test__ = False

    def __init__(self, url: str, key: str, org_id: str = "default") -> None:
        self._client = RestClient(url, key, org_id)

    def set_measurepoint(
        self, device: str, measurepoint: str, value: Any, *, pending_ttl: int = 0, timeout: int = 30
    ) -> dict[str, Any]:
        """Send a value to a device."""
        query: Query = {
            **_address(device),
            "measurepointId": measurepoint,
            "pendingTtl": pending_ttl,
            "timeout": timeout,
        }
        return self.call("setMeasurepoint", query, {"value": value}, timeout=timeout)

    def invoke_service(
        self,
        device: str,
        service: str,
        inputs: Mapping[str, Any] | None = None,
        *,
        pending_ttl: int = 0,
        timeout: int = 30,
    ) -> dict[str, Any]:
        """Call a service of a device; what it returns is `["data"]["outputData"]`."""
        query: Query = {**_address(device), "serviceId": service, "pendingTtl": pending_ttl, "timeout": timeout}
        return self.call("invokeService", query, {"inputData": dict(inputs or {})}, timeout=timeout)

    def command(self, command_id: str) -> dict[str, Any]:
        """One command, with its state."""
        return self.call("get", {"commandId": command_id}, method="GET")

    def commands(self, device: str = "") -> dict[str, Any]:
        """The newest commands, of one device or of all; a hundred at the most."""
        return self.call("search", _address(device) if device else {}, {})

    def cancel(self, device: str, command_id: str = "") -> dict[str, Any]:
        """Cancel the commands that wait for a device, or one of them."""
        return self.call("cancel", {**_address(device), **({"commandId": command_id} if command_id else {})})

    def call(
        self,
        action: str,
        query: Query,
        body: bytes | dict[str, Any] | None = None,
        *,
        method: str = "POST",
        timeout: float = 0,
    ) -> dict[str, Any]:
        """Any call of `/connect-service/v2.1/commands`."""
        text = orjson.dumps(body) if isinstance(body, dict) else body
        return self._client.call(action, query, text, method=method, timeout=timeout + _SECONDS).document


def _address(device: str) -> dict[str, str]:
    product_key, _, device_key = device.partition("/")
    return {"productKey": product_key, "deviceKey": device_key}
