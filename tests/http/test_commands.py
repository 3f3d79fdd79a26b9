"""Calls about commands, with devices that answer: over HTTP, MQTT and the disk."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from typing import Any

import httpx
import orjson
import pytest

from enos_ingest.codecs.sample import codec
from enos_ingest.testing.client import TestClient
from enos_ingest.testing.commands import ReceivedCommand
from tests.http.commands_site import CODED, DEVICE, KEYS, ORG, PRODUCT, Site, data, stored


@pytest.mark.parametrize(
    ("point", "value"),
    [
        ("measurepoint1", b"1.0"),
        ("measurepoint1", b"-2.5e-7"),
        ("level", b"3.0"),
        ("level", b"-2147483648"),
        ("speed", b"7"),
        ("mode", b"1"),
        ("label", '"é\\"😀"'.encode()),
        ("on", b"false"),
        ("curve", b'[1,"2.50",3.0]'),
        ("position", b'{"x":-1,"unit":"m"}'),
    ],
)
def test_a_value_reaches_the_device_as_it_was_written(site: Site, device: TestClient, point: str, value: bytes) -> None:
    """A number, string, boolean, array or object; the call returns when the device has answered."""
    commands: list[ReceivedCommand] = []
    device.on_command(commands.append)  # what it returns is None: done
    response = site.set(point, b'{"value":%b}' % value)
    (command,) = commands
    assert data(response) == {"commandId": command.id}
    assert command.topic == f"/sys/{DEVICE}/thing/service/measurepoint/set"
    assert command.payload == (
        b'{"id":"%b","version":"1.0","method":"thing.service.measurepoint.set","params":{"%b":%b}}'
        % (command.id.encode(), point.encode(), value)
    )
    assert stored(site, command.id)["inputData"] == orjson.loads(value)


def test_the_envelope_of_a_success_has_what_the_documents_print(site: Site, device: TestClient) -> None:
    """Member by member, in their order."""
    device.on_command(lambda _: None)
    response = site.set()
    body = response.json()
    assert list(body) == ["code", "msg", "submsg", "requestId", "data"]
    assert (body["code"], body["msg"], body["submsg"]) == (0, "Success", None)
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"


def test_a_device_is_also_found_by_its_asset_id(site: Site, device: TestClient) -> None:
    """Alone, and beside both keys."""
    device.on_command(lambda _: None)
    for query in ({"assetId": "asset-1"}, {"assetId": "asset-1", **KEYS}):
        query["measurepointId"] = "level"
        command = data(site.call("setMeasurepoint", query, b'{"value":1}'))["commandId"]
        assert stored(site, command)["deviceKey"] == "zBAofs6D4s"


def test_a_device_that_refuses_is_told_with_its_own_words(site: Site, device: TestClient) -> None:
    """11999, ours, and state 6; the code may be a string, as the Python SDK has it."""
    for code, said in ((2001, "the valve is locked"), ('"1101"', "")):
        device.on_command(
            lambda command, code=code, said=said: (  # type: ignore[misc]
                f'{{"id":"{command.id}","code":{code},"message":"{said}"}}'.encode()
            )
        )
        response = site.set()
        body = response.json()
        number = int(str(code).strip('"'))
        assert (response.status_code, body["code"]) == (200, 11999)
        assert body["msg"] == f"the device has refused, with code {number}{f': {said}' if said else ''}"
        command = body["data"].pop("commandId")
        assert body["data"] == {"deviceCode": number, "deviceMessage": said}
        found = stored(site, command)
        assert (found["state"], found["deviceCode"], found["deviceMessage"]) == (6, number, said)


def test_an_answer_without_a_code_is_a_failure_too(site: Site, device: TestClient) -> None:
    """Nobody knows what the device has done."""
    device.on_command(lambda command: b'{"id":"%b"}' % command.id.encode())
    body = site.set().json()
    assert (body["code"], body["data"]["deviceCode"]) == (11999, None)
    assert body["msg"] == f"the device has answered, but {body['data']['deviceMessage']}"


def test_what_is_sent_and_not_answered_in_time_is_11915(site: Site, device: TestClient) -> None:
    """The command is known, and its state is 7."""
    started = time.monotonic()
    command = data(site.set(timeout=3), 11915)["commandId"]
    assert time.monotonic() - started > 2.9
    assert device.next_command().id == command
    assert stored(site, command)["state"] == 7


def test_a_service_returns_what_the_device_puts_out(site: Site, device: TestClient) -> None:
    """Its inputs go out as they are, on the topic of the service."""
    commands: list[ReceivedCommand] = []

    def answer(command: ReceivedCommand) -> dict[str, Any]:
        commands.append(command)
        return {"applied": 60.0, "more": "of a newer device"}

    device.on_command(answer)
    found = data(site.invoke(body=b'{"inputData":{"limit":60,"duration":5}}'))
    (command,) = commands
    assert found == {"commandId": command.id, "outputData": {"applied": 60.0, "more": "of a newer device"}}
    assert (command.topic, command.method) == (f"/sys/{DEVICE}/thing/service/limit", "thing.service.limit")
    assert command.params == {"limit": 60, "duration": 5}
    assert stored(site, command.id)["outputData"] == found["outputData"]


@pytest.mark.parametrize("answer", [b"{}", b"null", None])
def test_a_service_without_outputs_returns_an_empty_object(
    site: Site, device: TestClient, answer: bytes | None
) -> None:
    """Whether the device says `data`, null or nothing; its inputs may be left out where none is required."""

    def respond(command: ReceivedCommand) -> bytes:
        more = b"" if answer is None else b',"data":' + answer
        return b'{"id":"%b","code":200%b}' % (command.id.encode(), more)

    device.on_command(respond)
    for body in (b"{}", b'{"inputData":{}}', b'{"inputData":null}'):
        assert data(site.invoke("restart", body))["outputData"] == {}


def test_an_output_that_does_not_fit_the_service_is_a_failure(site: Site, device: TestClient) -> None:
    """11999 and state 6: what was done is done, but nobody may count on what came back."""
    device.on_command(lambda _: {"applied": "60"})
    body = site.invoke().json()
    assert (body["code"], body["data"]["deviceCode"]) == (11999, 200)
    said = "outputData.applied: expected a number"
    assert body["msg"] == f"the device has done it, but its answer does not fit the thing model: {said}"
    found = stored(site, body["data"]["commandId"])
    assert (found["state"], found["deviceMessage"]) == (6, said)


def test_an_output_that_can_barely_be_written_is_handed_on(site: Site, device: TestClient) -> None:
    """What is nested deeper is a failure, and no fault of the hub."""
    depths = {}
    for depth in (200, 240, 249, 250, 251, 252, 253, 254, 255, 900):
        nested = b"[" * depth + b"]" * depth
        device.on_command(
            lambda command, nested=nested: (  # type: ignore[misc]
                b'{"id":"%b","code":200,"data":{"applied":1,"x":%b}}' % (command.id.encode(), nested)
            )
        )
        body = site.invoke().json()
        depths[depth] = body["code"]
        data(site.call("get", {"commandId": body["data"]["commandId"]}, method="GET"))
        data(site.call("search", KEYS))
    assert set(depths.values()) == {0, 11999}
    assert (depths[200], depths[900]) == (0, 11999)


def test_a_cached_command_returns_at_once_and_goes_out_when_the_device_comes(site: Site) -> None:
    """In the order of the calls; also a service call, whose output is to be asked for later."""
    first = data(site.set(body=b'{"value":1.0}', pendingTtl=60))["commandId"]
    second = data(site.invoke(pendingTtl=60))
    assert list(second) == ["commandId"]
    assert stored(site, first)["state"] == 1
    with site.hub.connect(DEVICE) as device:
        command = device.next_command()
        assert (command.id, command.params) == (first, {"measurepoint1": 1.0})
        assert stored(site, first)["state"] == 4
        device.answer(command)
        command = device.next_command()
        assert command.id == second["commandId"]
        device.answer(command, {"applied": 60})
    found = stored(site, second["commandId"])
    assert (found["state"], found["outputData"]) == (5, {"applied": 60})
    assert first < second["commandId"]


def test_an_instant_command_behind_cached_ones_is_11904_when_its_time_is_over(
    site: Site, background: ThreadPoolExecutor
) -> None:
    """It was never sent, and its state is 3."""
    cached = data(site.set(pendingTtl=60))["commandId"]
    with site.hub.connect(DEVICE) as device:
        sent = device.next_command()
        assert sent.id == cached
        instant = data(background.submit(site.set, timeout=1).result(), 11904)["commandId"]
        assert stored(site, instant)["state"] == 3
        device.answer(sent)


def test_a_sub_device_is_commanded_through_its_gateway(site: Site) -> None:
    """On the sub-device's topic."""
    with site.hub.connect(f"{PRODUCT}/gateway") as gateway:
        gateway.login(f"{PRODUCT}/sub", "x")
        topics: list[str] = []

        def answer(command: ReceivedCommand) -> None:
            topics.append(command.topic)

        gateway.on_command(answer)
        data(site.set(deviceKey="sub"))
        assert topics == [f"/sys/{PRODUCT}/sub/thing/service/measurepoint/set"]


def test_a_product_with_a_codec_is_spoken_to_in_its_own_format(site: Site) -> None:
    """Both ways; the stored command has the values, not the bytes."""
    with site.hub.connect(f"{CODED}/coded") as device:
        messages: list[dict[str, Any]] = []

        def answer(command: ReceivedCommand) -> bytes:
            assert command.topic == f"/sys/{CODED}/coded/thing/model/down_raw"
            message = codec.decode(command.payload)
            messages.append(message)
            output = {"applied": 60.0} if "limit" in message["params"] else {}
            return codec.encode({"id": message["id"], "code": 200, "data": output, "message": ""})

        device.on_command(answer)
        command = data(site.set("level", b'{"value":7}', productKey=CODED, deviceKey="coded"))["commandId"]
        assert data(site.invoke(productKey=CODED, deviceKey="coded"))["outputData"] == {"applied": 60.0}
        assert [message["params"] for message in messages] == [{"level": 7}, {"limit": 60}]
        assert messages[0]["id"] == command
        assert stored(site, command)["inputData"] == 7


def test_a_command_is_shown_with_all_that_is_known(site: Site, device: TestClient) -> None:
    """EnOS's struct, with what is ours at its end."""
    device.on_command(lambda _: {"applied": 60})
    before = time.time_ns() // 1_000_000
    set_id, call_id = data(site.set())["commandId"], data(site.invoke(timeout=60))["commandId"]
    after = time.time_ns() // 1_000_000
    found = stored(site, set_id)
    times = [found.pop(name) for name in ("createTime", "sendTime", "finishTime")]
    assert [before, *times, after] == sorted([before, *times, after])
    assert round(datetime.fromisoformat(found.pop("createLocaltime")).timestamp() * 1000) == times[0]
    assert found == {
        "commandId": set_id,
        "orgId": ORG,
        **KEYS,
        "assetId": "asset-1",
        "commandType": 1,
        "commandName": {"defaultValue": "Set point", "i18nValue": {"en_US": "Set point"}},
        "tslIdentifier": "measurepoint1",
        "timeout": 30,
        "pendingTtl": 0,
        "state": 5,
        "inputData": 1.0,
        "outputData": None,
        "application": "scada",
        "deviceCode": None,
        "deviceMessage": "",
    }
    found = stored(site, call_id)
    expected = {"commandType": 2, "timeout": 60, "inputData": {"limit": 60}, "outputData": {"applied": 60}}
    assert {name: found[name] for name in expected} == expected


def test_a_search_returns_pages_newest_first(site: Site) -> None:
    """Of one device or of all, of the members that are asked for, with how many there are."""
    ids = [data(site.set(deviceKey="never", pendingTtl=60))["commandId"] for _ in range(3)]
    body = {"expression": "state = 1", "pagination": {"pageNo": 1, "pageSize": 2}, "projection": ["commandId", "state"]}
    query = {"productKey": PRODUCT, "deviceKey": "never"}
    first = site.call("search", query, orjson.dumps(body)).json()
    assert first["data"] == [{"commandId": each, "state": 1} for each in (ids[2], ids[1])]
    expected = {"pageNo": 1, "pageSize": 2, "totalSize": 3, "sortedBy": [{"field": "createTime", "order": "DESC"}]}
    assert first["pagination"] == expected
    body["pagination"] = {"pageNo": 2, "pageSize": 2}
    second = site.call("search", query, orjson.dumps(body)).json()
    assert [each["commandId"] for each in second["data"]] == [ids[0]]
    everywhere = data(site.call("search", {}, b"{}", application="viewer"))
    assert [each["commandId"] for each in everywhere[:3]] == ids[::-1]
    assert data(site.call("search", {"assetId": "asset-2"})) == []
    site.call("cancel", query)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_commands_that_wait_can_be_canceled(site: Site, method: str) -> None:
    """One, or all of a device; those that are no longer waiting are left as they are."""
    ids = [data(site.set(deviceKey="never", pendingTtl=60))["commandId"] for _ in range(3)]
    query = {"productKey": PRODUCT, "deviceKey": "never"}
    one = data(site.call("cancel", {**query, "commandId": ids[1]}, method=method))
    assert [(each["commandId"], each["state"]) for each in one] == [(ids[1], 2)]
    assert data(site.call("cancel", {**query, "commandId": ids[1]}, method=method)) == []
    rest = data(site.call("cancel", query, method=method))
    assert [each["commandId"] for each in rest] == [ids[0], ids[2]]
    assert data(site.call("cancel", query, method=method)) == []
    assert [stored(site, each)["state"] for each in ids] == [2, 2, 2]
    assert all(stored(site, each)["finishTime"] for each in ids)


def test_a_command_that_was_sent_cannot_be_canceled(site: Site) -> None:
    """It is with the device."""
    sent = data(site.set(pendingTtl=60))["commandId"]
    waiting = data(site.set(pendingTtl=60))["commandId"]
    with site.hub.connect(DEVICE) as device:
        command = device.next_command()
        canceled = data(site.call("cancel", KEYS))
        assert [each["commandId"] for each in canceled] == [waiting]
        device.answer(command)
    assert stored(site, sent)["state"] == 5


def test_many_callers_each_get_the_answer_to_their_own_command(
    site: Site, device: TestClient, background: ThreadPoolExecutor
) -> None:
    """Answered in the reverse order."""
    bodies = [b'{"inputData":{"limit":%d}}' % number for number in range(8)]
    calls: list[Future[httpx.Response]] = [background.submit(site.invoke, "limit", body) for body in bodies]
    for command in [device.next_command() for _ in bodies][::-1]:
        device.answer(command, {"applied": command.params["limit"]})
    assert [data(call.result())["outputData"] for call in calls] == [{"applied": number} for number in range(8)]
