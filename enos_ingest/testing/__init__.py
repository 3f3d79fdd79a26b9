"""A whole hub inside your own tests; installed as a pytest plugin with the package.

    def test_reports(enos_hub):
        hub = enos_hub(registry=REGISTRY, models=[MODEL])
        with hub.connect("EbxGvUrE/gw-1") as device:
            reply = device.resume({"temp": 21.5}, time=1700000000000)
        assert reply["code"] == 200
        assert hub.points("EbxGvUrE/gw-1")[0].value == 21.5

hub          the hub in a thread of this process, on free ports (`run_hub` starts one without pytest)
client       an MQTT client that publishes a request and awaits its reply
commands     what it gets from the hub, and its answers
application  business software that calls the REST API

This module is loaded by every pytest run where the package is installed, so it imports the rest only on use.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

if TYPE_CHECKING:
    from enos_ingest.testing.hub import Hub

    HubFactory: TypeAlias = Callable[..., Hub]

__all__ = ["enos_hub"]


@pytest.fixture
def enos_hub() -> Iterator[HubFactory]:
    """Start hubs: `enos_hub(registry=..., models=..., settings=...)`, see `testing.hub.run_hub`.

    Every hub started is gone, with its files, when the test ends.
    """
    from enos_ingest.testing.hub import run_hub  # noqa: PLC0415

    with contextlib.ExitStack() as hubs:

        def start(**arguments: Any) -> Hub:
            return hubs.enter_context(run_hub(**arguments))

        yield start
