"""Dynamic activation of sub-devices: by the login that their gateway sends, one by one or in a batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from enos_ingest.protocol.identity import DeviceId
from enos_ingest.testing.hub import Hub, run_hub
from tests.endpoint import inside
from tests.endpoint.activation_site import REGISTRY, login, mode_2
from tests.endpoint.raw import RawClient, connect_packet
from tests.endpoint.site import MODELS


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A hub for each test: what is activated stays so."""
    with run_hub(registry=REGISTRY, models=MODELS) as running:
        yield running


def ask(gateway: RawClient, topic: str, payload: bytes) -> dict[str, Any]:
    """The answer to a request of a gateway."""
    gateway.publish(topic, payload)
    answer: dict[str, Any] = orjson.loads(gateway.message().payload)
    return answer


@pytest.mark.parametrize("mode", ["3", 3])
def test_a_sub_device_is_activated_by_its_login(hub: Hub, mode: int | str) -> None:
    """The answer holds its secret, with which it logs in from then on; it is online at once."""
    topic = "/ext/session/P/gw/combine/login"
    with RawClient(hub) as gateway:
        assert gateway.connect(connect_packet(mode_2("P", "gw", "gw-secret"))) == 0
        answer = ask(gateway, topic, login("P/sub", mode=mode))
        secret = answer["data"].pop("deviceSecret")
        asset_id = hub.directory.devices[DeviceId("P", "sub")].asset_id
        assert answer["data"] == {"productKey": "P", "deviceKey": "sub", "assetId": asset_id}
        assert len(secret) == 32
        assert inside.presence(hub).is_online_through(DeviceId("P", "gw"), DeviceId("P", "sub"))
        assert ask(gateway, topic, login("P/sub", mode=mode))["code"] == 771
        again = ask(gateway, topic, login("P/sub", secret))
        assert (again["code"], "deviceSecret" in again["data"]) == (200, False)


SUB_REFUSED = {
    "the product does not allow it": (login("N/sub", mode=3), 770),
    "another mode": (login("P/sub", mode=4), 770),
    "a wrong signature": (login("P/sub", "guess", mode=3), 742),
    "its own secret": (login("P/sub-2", "sub-2-secret", mode=3), 742),
    "no secret yet": (login("P/sub"), 742),
    "a product whose devices must use TLS": (login("T/sub", "sub-secret"), 746),
    "the same, to be activated": (login("T/sub", mode=3), 746),
}


@pytest.mark.parametrize("case", SUB_REFUSED)
def test_a_sub_device_that_may_not_is_refused(hub: Hub, case: str) -> None:
    """With the code of a login; it stays offline, and without a secret."""
    request, code = SUB_REFUSED[case]
    with RawClient(hub) as gateway:
        assert gateway.connect(connect_packet(mode_2("P", "gw", "gw-secret"))) == 0
        answer = ask(gateway, "/ext/session/P/gw/combine/login", request)
        keys = {name: orjson.loads(request)["params"][name] for name in ("productKey", "deviceKey")}
        assert (answer["code"], answer["data"]) == (code, keys)
        assert inside.online(hub) == 1


def test_a_batch_activates_too(hub: Hub) -> None:
    """Each entry on its own: the same sub-device twice is told one secret, where it may be told it again."""
    topic = "/ext/session/P/gw/combine/login/batch"
    with RawClient(hub) as gateway:
        assert gateway.connect(connect_packet(mode_2("P", "gw", "gw-secret"))) == 0
        twice = ask(gateway, topic, login("A/sub", mode=3, batch=True))
        assert twice["code"] == 200
        told = {entry["deviceSecret"] for entry in twice["data"]["loginedSubDevices"]}
        assert len(twice["data"]["loginedSubDevices"]) == 2
        assert told == {hub.directory.devices[DeviceId("A", "sub")].secret}
        once = ask(gateway, topic, login("P/sub", mode=3, batch=True))
        assert (once["code"], len(once["data"]["loginedSubDevices"]), len(once["data"]["failedSubDevices"])) == (
            723,
            1,
            1,
        )
        assert "Device cannot activate again (771)" in once["message"]
