"""Every kind of request that the official Python SDK makes, but for those of the past, which `test_python_sdk` has.

Requests are built as `enos/sample/` of the package does, and what comes of them is read from the SDK's own objects.
"""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path
from typing import Any

import pytest
from enos.message.upstream.integration.IntAttributePostRequest import IntAttributePostRequest
from enos.message.upstream.integration.IntEventPostRequest import IntEventPostRequest
from enos.message.upstream.ota.OtaGetVersionRequest import OtaGetVersionRequest
from enos.message.upstream.ota.OtaProgressReportRequest import OtaProgressReportRequest
from enos.message.upstream.ota.OtaVersionReportRequest import OtaVersionReportRequest
from enos.message.upstream.status.SubDeviceLoginBatchRequest import SubDeviceLoginBatchRequest
from enos.message.upstream.tag.TagDeleteRequest import TagDeleteRequest
from enos.message.upstream.tag.TagQueryRequest import TagQueryRequest
from enos.message.upstream.tag.TagUpdateRequest import TagUpdateRequest
from enos.message.upstream.tsl.AttributeDeleteRequest import AttributeDeleteRequest
from enos.message.upstream.tsl.AttributeQueryRequest import AttributeQueryRequest
from enos.message.upstream.tsl.AttributeUpdateRequest import AttributeUpdateRequest
from enos.message.upstream.tsl.EventPostRequest import EventPostRequest
from enos.message.upstream.tsl.MeasurepointPostBatchRequest import MeasurepointPostBatchRequest
from enos.message.upstream.tsl.MeasurepointPostRequest import MeasurepointPostRequest
from enos.message.upstream.tsl.TslTemplateGetRequest import TslTemplateGetRequest

from enos_ingest.protocol.identity import DeviceId
from enos_ingest.storage.facts import SqliteFacts
from enos_ingest.testing.hub import Hub
from tests.clients.python_sdk import Connect, login
from tests.clients.world import BROKEN, GATEWAY, INVERTER, SECRETS, SUB_1, SUB_2
from tests.process import eventually

# The SDK asks paho for callbacks of its first version; nothing else may warn.
pytestmark = pytest.mark.filterwarnings("ignore:Callback API version 1 is deprecated:DeprecationWarning")


def of(device: str | None, builder: Any) -> Any:
    """The request of a builder; for the client's own device, which the SDK fills in, without keys."""
    if device is not None:
        builder.set_product_key(device.partition("/")[0]).set_device_key(device.partition("/")[2])
    return builder.build()


def post(device: str | None, points: dict[str, Any], time: int) -> Any:
    return of(device, MeasurepointPostRequest.builder().add_measurepoints(points).set_timestamp(time))


def answer(response: Any) -> tuple[int, Any]:
    return response.get_code(), response.get_data()


def facts(hub: Hub) -> SqliteFacts:
    return SqliteFacts(hub.database)


def test_live_points(hub: Hub, connect: Connect) -> None:
    """For the gateway and a sub-device; their origin is `post`, and what is wrong is refused."""
    client = connect()
    assert answer(client.publish(post(None, {"GW.CPULoad": 12.5}, 1))) == (200, {})
    assert answer(client.publish(post(SUB_1, {"temp": 20}, 1))) == (1212, {}), "the sub-device is offline"
    assert client.publish(login(SUB_1)).is_success()
    assert answer(client.publish(post(SUB_1, {"temp": 21.5, "INV.GridConnected": True}, 2))) == (200, {})
    assert answer(client.publish(post(SUB_1, {"temp": "warm"}, 3))) == (1204, {})
    assert answer(client.publish(post(SUB_1, BROKEN, 3))) == (1204, {})
    assert [point[2:] for point in hub.points(GATEWAY)] == [("GW.CPULoad", 1, 12.5, None, "post")]
    assert [(point.measurepoint, point.time, point.value, point.origin) for point in hub.points(SUB_1)] == [
        ("INV.GridConnected", 2, True, "post"),
        ("temp", 2, 21.5, "post"),
    ]


def test_live_points_in_batches(hub: Hub, connect: Connect) -> None:
    """With each pair of flags, and without: what is not set the SDK sends as "", and so the gateway's own keys."""
    client = connect()
    assert client.publish(login(SUB_1)).is_success()
    time = itertools.count(1)
    for skip, allow in ((None, None), (True, True), (True, False), (False, True), (False, False)):
        for points, code in (
            ({GATEWAY: {"GW.CPULoad": 1}, SUB_1: {"temp": 1}}, 200),
            ({SUB_1: BROKEN}, 200 if skip else 1204),
            ({SUB_1: {"temp": 1}, SUB_2: {"temp": 1}}, 200 if allow else 1212),
        ):
            now = next(time)
            builder = MeasurepointPostBatchRequest.builder()
            for device, values in points.items():
                builder.add_request(post(None if device == GATEWAY else device, values, now))
            if skip is not None:
                builder.set_skip_invalid_measurepoints(skip)
            if allow is not None:
                builder.set_allow_offline_sub_device(allow)
            assert answer(client.publish(builder.build())) == (code, {}), (points, skip, allow)
            for device, values in points.items():
                found = {point.measurepoint: point.value for point in hub.points(device) if point.time == now}
                assert found == (values if code == 200 and values != BROKEN else {})


def test_sub_devices_log_in_by_the_batch(hub: Hub, connect: Connect) -> None:
    """Signed over seconds with a fraction, as text. Who fails does so alone: 723, and both lists."""
    client = connect()
    builder = SubDeviceLoginBatchRequest.builder()
    for device, secret in ((SUB_1, SECRETS[SUB_1]), (SUB_2, "guessed"), (INVERTER, SECRETS[INVERTER])):
        builder.add_sub_device_info(*device.split("/"), secret)
    response = client.publish(builder.build())
    assert response.get_code() == 723
    succeeded, failed = (response.get_data()[name] for name in ("loginedSubDevices", "failedSubDevices"))
    assert [(each["productKey"], each["deviceKey"]) for each in succeeded] == [tuple(SUB_1.split("/"))]
    assert isinstance(succeeded[0]["assetId"], str)
    assert [(each["productKey"], each["deviceKey"]) for each in failed] == [
        tuple(SUB_2.split("/")),
        tuple(INVERTER.split("/")),
    ]
    assert client.publish(post(SUB_1, {"temp": 1}, 1)).get_code() == 200
    assert client.publish(post(SUB_2, {"temp": 1}, 1)).get_code() == 1212

    builder = SubDeviceLoginBatchRequest.builder()
    for device in (SUB_1, SUB_2):
        builder.add_sub_device_info(*device.split("/"), SECRETS[device])
    response = client.publish(builder.build())
    assert response.get_code() == 200
    assert len(response.get_data()["loginedSubDevices"]) == 2
    assert response.get_data()["failedSubDevices"] == []
    assert client.publish(post(SUB_2, {"temp": 1}, 2)).get_code() == 200
    assert len(hub.points(SUB_2)) == 1


def test_the_thing_model(connect: Connect) -> None:
    """The SDK's getters find the maps of attributes, points, services and events."""
    response = connect(INVERTER).publish(TslTemplateGetRequest.builder().build())
    assert response.get_code() == 200
    assert response.get_attributes()["ratedPower"]["identifier"] == "ratedPower"
    assert {"INV.GenActivePW", "temp", "branchCurr"} <= response.get_measure_points().keys()
    assert set(response.get_services()) == {"limitPower", "restart"}
    assert set(response.get_events()) == {"gridFault", "restarted"}


def test_attributes(hub: Hub, connect: Connect) -> None:
    """Set, asked for by name and all, deleted; one that the model lacks refuses the lot."""
    client = connect(INVERTER)

    def update(attributes: dict[str, Any]) -> Any:
        return client.publish(AttributeUpdateRequest.builder().add_attributes(attributes).build())

    assert answer(update({"ratedPower": 50, "manufacturer": "Envision"})) == (200, {})
    assert answer(update({"ratedPower": 51, "nothing": 1})) == (1204, {})
    assert answer(update({"strings": "many"})) == (1204, {})
    query = AttributeQueryRequest.builder
    everything = {"ratedPower": 50, "manufacturer": "Envision"}
    assert answer(client.publish(query().query_all().build())) == (200, everything)
    assert answer(client.publish(query().add_attribute("ratedPower").build())) == (200, {"ratedPower": 50})
    delete = AttributeDeleteRequest.builder().delete_attributes(["manufacturer", "strings"])
    assert answer(client.publish(delete.build())) == (200, {})
    assert answer(client.publish(query().build())) == (200, {"ratedPower": 50})
    with facts(hub) as stored:
        assert [each[:2] for each in stored.attributes(DeviceId(*INVERTER.split("/")))] == [("ratedPower", 50)]


def test_events(hub: Hub, connect: Connect) -> None:
    """Published with QoS 0, under a method that names no event; one that the model lacks is refused."""
    client = connect()
    assert client.publish(login(SUB_1)).is_success()

    def event(identifier: str, values: dict[str, Any], device: str | None = SUB_1) -> Any:
        builder = EventPostRequest.builder().set_event_identifier(identifier).add_values(values).set_timestamp(7)
        return client.publish(of(device, builder))

    assert answer(event("gridFault", {"code": 17, "text": "no grid"})) == (200, {})
    assert answer(event("doorOpened", {"by": "alice"}, None)) == (200, {})
    assert answer(event("nothing", {"code": 17})) == (1204, {})
    assert answer(event("gridFault", {"text": "a required field is missing"})) == (1204, {})
    with facts(hub) as stored:
        for device, name, fields in (
            (SUB_1, "gridFault", {"code": 17, "text": "no grid"}),
            (GATEWAY, "doorOpened", {"by": "alice"}),
        ):
            found = [(each.event, each.time, each.fields) for each in stored.events(DeviceId(*device.split("/")))]
            assert found == [(name, 7, fields)]


def test_tags(hub: Hub, connect: Connect) -> None:
    """Set, asked for by key and all, deleted."""
    client = connect(INVERTER)
    update = TagUpdateRequest.builder().add_tag("row", "7").add_tags({"site": "Hof", "owner": "Müller"})
    assert answer(client.publish(update.build())) == (200, {})
    query = TagQueryRequest.builder
    everything = {"row": "7", "site": "Hof", "owner": "Müller"}
    assert answer(client.publish(query().query_all().build())) == (200, everything)
    assert answer(client.publish(query().add_key("site").build())) == (200, {"site": "Hof"})
    assert answer(client.publish(TagDeleteRequest.builder().delete_tag_keys(["row", "owner"]).build())) == (200, {})
    assert answer(client.publish(query().build())) == (200, {"site": "Hof"})
    with facts(hub) as stored:
        assert [each[:2] for each in stored.tags(DeviceId(*INVERTER.split("/")))] == [("site", "Hof")]


def test_a_channel_posts_events_and_attributes(hub: Hub, connect: Connect) -> None:
    """Events of several devices are stored; the SDK leaves all attributes out of what it sends, and is told 200."""
    client = connect("Sb7PkXyZ/%channel%")
    builder = IntEventPostRequest.builder().add_event("sub001", 1, "gridFault", {"code": 1})
    builder.add_event("inv-1", 2, "restarted", {})
    assert answer(client.publish(builder.build())) == (200, {})
    unknown = IntEventPostRequest.builder().add_event("nobody", 1, "gridFault", {"code": 1})
    assert client.publish(unknown.build()).get_code() == 1257
    wrong = IntEventPostRequest.builder().add_event("inv-1", 1, "nothing", {})
    assert client.publish(wrong.build()).get_code() == 1204
    attributes = IntAttributePostRequest.builder().add_attribute("inv-1", "ratedPower", 50).build()
    assert attributes.get_params() == []
    assert answer(client.publish(attributes)) == (200, {})
    with facts(hub) as stored:
        found = [
            (each.device.device_key, each.event, each.time, each.origin)
            for device in (SUB_1, INVERTER)
            for each in stored.events(DeviceId(*device.split("/")))
        ]
        assert found == [("sub001", "gridFault", 1, "integration"), ("inv-1", "restarted", 2, "integration")]
        assert stored.attributes(DeviceId(*INVERTER.split("/"))) == []


@pytest.mark.parametrize(
    "request_type",
    [OtaGetVersionRequest, OtaProgressReportRequest, OtaVersionReportRequest],
    ids=lambda each: each.__name__,
)
def test_what_is_not_served_is_answered_at_once(connect: Connect, request_type: Any) -> None:
    """Firmware: 1009, in place of the 30 seconds that the SDK would wait."""
    response = connect().publish(request_type.builder().build())
    assert answer(response) == (1009, {})
    assert response.get_message().startswith("firmware ")


def test_a_fast_publish_is_stored(hub: Hub, connect: Connect) -> None:
    """The SDK neither subscribes nor waits: its reply is nobody's, and it goes on."""
    client = connect(INVERTER)
    client.fast_publish(post(None, {"temp": 1}, 1))
    assert client.publish(post(None, {"temp": 2}, 2)).get_code() == 200
    eventually(lambda: [point.value for point in hub.points(INVERTER)] == [1, 2])


def test_a_message_that_is_too_large(hub: Hub, connect: Connect) -> None:
    """Beyond 512 KiB, which the SDK does not notice: refused, and the connection goes on."""
    client = connect(INVERTER)
    assert answer(client.publish(post(None, {"INV.SN": "x" * 600_000}, 1))) == (1206, {})
    assert answer(client.publish(post(None, {"temp": 2}, 2))) == (200, {})
    assert [point.time for point in hub.points(INVERTER)] == [2]


def test_no_kind_of_request_is_left_out() -> None:
    """What the package has under `message.upstream`, these tests send."""
    package = importlib.util.find_spec("enos.message.upstream")
    assert package is not None
    assert package.submodule_search_locations
    kinds = {path.stem for each in package.submodule_search_locations for path in Path(each).rglob("*Request.py")}
    assert len(kinds) > 20
    texts = [path.read_text("utf-8") for path in Path(__file__).parent.glob("*.py")]
    # No import is unused here.
    assert [kind for kind in sorted(kinds) if not any(f"import {kind}\n" in text for text in texts)] == []
