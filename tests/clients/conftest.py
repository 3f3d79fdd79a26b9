"""The official Python SDK, connected to a hub, on each generation of paho-mqtt."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from enos_ingest.testing.hub import Hub
from tests.clients.paho import GENERATIONS, OLD, fetch_old, sdk_on
from tests.clients.python_sdk import Connect, connecting
from tests.clients.world import REGISTRY


@pytest.fixture
def hub(enos_hub: Callable[..., Hub]) -> Hub:
    """A hub with a gateway and its sub-devices."""
    return enos_hub(registry=REGISTRY)


@pytest.fixture(params=GENERATIONS)
def paho(request: pytest.FixtureRequest) -> Iterator[str]:
    """What the SDK is used on."""
    if request.param != GENERATIONS[0] and fetch_old() is None:
        pytest.skip(f"{OLD} cannot be fetched by pip")
    with sdk_on(request.param):
        yield request.param


@pytest.fixture
def connect(hub: Hub, paho: str) -> Iterator[Connect]:  # noqa: ARG001 - it holds while the SDK is in use
    """Connect the SDK to the hub."""
    with connecting(hub) as connect:
        yield connect
