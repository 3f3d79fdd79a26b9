"""Live points and those of the past, of one device: origins, and which is the latest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from enos_ingest.outcome import Point
from enos_ingest.testing.hub import Hub, run_hub
from tests.cases.world import GATEWAY, MODELS, REGISTRY, SUB_1, secret_of

NOW = 1_700_000_000_000


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A hub of its own for each test: the latest value is asked for."""
    with run_hub(registry=REGISTRY, models=MODELS) as hub:
        yield hub


def seen(points: list[Point]) -> list[tuple[int, object, str]]:
    """Time, value and origin of each point."""
    return [(point.time, point.value, point.origin) for point in points]


def test_history_never_moves_the_live_value(hub: Hub) -> None:
    """The latest point is the one with the greatest time, however it came."""
    with hub.connect(GATEWAY) as gateway:
        assert gateway.post({"temp": 1.5}, NOW)["code"] == 200
        assert gateway.resume({"temp": 2.5}, NOW - 1)["code"] == 200
        assert seen(hub.points(GATEWAY, latest=True)) == [(NOW, 1.5, "post")]
        assert gateway.post({"temp": 3.5}, NOW - 2)["code"] == 200
        assert seen(hub.points(GATEWAY, latest=True)) == [(NOW, 1.5, "post")]
        assert gateway.resume({"temp": 4.5}, NOW + 1)["code"] == 200
        assert seen(hub.points(GATEWAY, latest=True)) == [(NOW + 1, 4.5, "resume")]
    assert seen(hub.points(GATEWAY)) == [
        (NOW - 2, 3.5, "post"),
        (NOW - 1, 2.5, "resume"),
        (NOW, 1.5, "post"),
        (NOW + 1, 4.5, "resume"),
    ]


def test_the_last_report_of_a_time_wins_with_its_origin(hub: Hub) -> None:
    """A point has one value at one time, whichever way it was reported."""
    with hub.connect(GATEWAY) as gateway:
        assert gateway.post({"temp": 1.5}, NOW)["code"] == 200
        assert gateway.resume({"temp": 2.5}, NOW)["code"] == 200
        assert seen(hub.points(GATEWAY)) == [(NOW, 2.5, "resume")]
        assert gateway.post_batch([{"measurepoints": {"temp": 3.5}, "time": NOW}])["code"] == 200
    assert seen(hub.points(GATEWAY)) == [(NOW, 3.5, "post")]


def test_a_gateway_posts_for_its_sub_devices(hub: Hub) -> None:
    """In batch, with the flags of the batch topics; on the sub-device's own topic."""
    product, _, key = SUB_1.partition("/")
    item = {"productKey": product, "deviceKey": key, "measurepoints": {"energy": 1}, "time": NOW}
    with hub.connect(GATEWAY) as gateway:
        assert gateway.post_batch([item])["code"] == 1212
        assert gateway.post_batch([item], allowOfflineSubDevice=True)["code"] == 200
        assert gateway.login(SUB_1, secret_of(SUB_1))["code"] == 200
        request = {"measurepoints": {"energy": 2}, "time": NOW + 1}
        reply = gateway.call(f"/sys/{SUB_1}/thing/measurepoint/post", "thing.measurepoint.post", request)
        assert reply["code"] == 200
    assert seen(hub.points(SUB_1)) == [(NOW, 1, "post"), (NOW + 1, 2, "post")]
