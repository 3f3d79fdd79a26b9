"""What is not served: each request of it, as the SDKs send it, is answered 1009 at once, over both ways there are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from enos_ingest.testing.client import TestClient
from enos_ingest.testing.hub import Hub, run_hub
from enos_ingest.uplinks import ROUTES
from enos_ingest.uplinks.unserved import UNSERVED
from tests.cases.world import GATEWAY, MODELS, REGISTRY, SUB_1, secret_of

STATUS = {"reportTime": 1, "collectTime": 1, "rssi": -70, "snr": 9, "packetLossRate": 0.1, "networkType": "4G"}
LOGS = {"logs": {"traceId": "1", "level": "INFO", "module": "m", "content": "text"}, "time": 1}
STATE = {"isFull": True, "nodes": [], "relations": [], "reportTime": 1}
PROGRESS = {"step": "20", "desc": "downloading"}

SENT: list[tuple[str, str, Any]] = [
    ("ota/device/inform", "ota.inform", {"version": "V1.2.3"}),
    ("ota/device/inform", "ota.device.inform", {"version": "V1.2.3"}),
    ("ota/device/request", "ota.request", {"version": "V1.2.3"}),
    ("ota/device/request", "ota.device.request", {"version": "V1.2.3"}),
    ("ota/device/progress", "ota.progress", PROGRESS),
    ("ota/device/progress", "ota.device.progress", PROGRESS),
    ("ota/device/getversion", "Ota.device.getversion", {}),
    ("ota/device/getversion", "ota.device.getversion", {}),
    ("thing/log/post", "thing.log.post", LOGS),
    ("network/status/report", "network.status.report", STATUS),
    ("connection/state/post", "connection.state.post", STATE),
]
"""Topic, method and params as the Python and Java SDKs send them, whose methods differ."""


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    """One hub for all."""
    with run_hub(registry=REGISTRY, models=MODELS, settings={"security.anonymous": True}) as hub:
        yield hub


@pytest.fixture(scope="module")
def gateway(hub: Hub) -> Iterator[TestClient]:
    """A gateway with a sub-device online."""
    with hub.connect(GATEWAY) as gateway:
        assert gateway.login(SUB_1, secret_of(SUB_1))["code"] == 200
        yield gateway


@pytest.fixture(scope="module")
def operator(hub: Hub) -> Iterator[TestClient]:
    """One who publishes in the devices' names."""
    with hub.connect_operator() as operator:
        yield operator


def test_each_is_sent_here() -> None:
    """And none of them has a route."""
    assert {f"sys/{action}" for action, _, _ in SENT} == set(UNSERVED)
    assert UNSERVED.keys().isdisjoint(ROUTES)


@pytest.mark.parametrize(
    ("action", "method", "params"), SENT, ids=lambda value: value if isinstance(value, str) else ""
)
@pytest.mark.parametrize("device", [GATEWAY, SUB_1])
@pytest.mark.parametrize("way", ["gateway", "operator"])
def test_it_is_answered_1009_with_the_reason(
    way: str, device: str, action: str, method: str, params: Any, request: pytest.FixtureRequest
) -> None:
    """With the id, for the device itself and for a sub-device."""
    client: TestClient = request.getfixturevalue("gateway")
    if way == "operator":
        client = request.getfixturevalue("operator")
    sent = {"id": "65535", "version": "1.1", "method": method, "params": params}
    assert client.request(f"/sys/{device}/{action}", sent) == {
        "id": "65535",
        "code": 1009,
        "data": {},
        "message": f"{UNSERVED[f'sys/{action}']} are not served here: {action}",
    }


def test_a_log_sent_without_guarantee_is_answered_too(gateway: TestClient) -> None:
    """The Java SDK sends logs with QoS 0."""
    request = {"id": "1", "version": "1.1", "method": "thing.log.post", "params": LOGS}
    assert gateway.request(f"/sys/{GATEWAY}/thing/log/post", request, qos=0)["code"] == 1009
