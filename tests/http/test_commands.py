"""Calls about commands, with devices that answer: over HTTP, MQTT and the disk."""

from __future__ import annotations

import hashlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from typing import Any

import httpx
import orjson
import pytest

from enos_ingest.codecs.sample import codec
from enos_ingest.commands.commands import Commands
from enos_ingest.http.callers import sign_call
from enos_ingest.logs import LogEvent
from enos_ingest.testing.client import TestClient
from enos_ingest.testing.commands import ReceivedCommand
from tests.http.commands_site import CODED, COMMANDS, ORG, PRODUCT, Site, run_site

DEVICE = f"{PRODUCT}/zBAofs6D4s"
KEYS = {"productKey": PRODUCT, "deviceKey": "zBAofs6D4s"}
_SECONDS = 10.0


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with run_site() as running:
        yield running


@pytest.fixture
def device(site: Site) -> Iterator[TestClient]:
    with site.hub.connect(DEVICE) as client:
        yield client


@pytest.fixture
def background() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as threads:
        yield threads


def data(response: httpx.Response, code: int = 0) -> Any:
    """`data` of an envelope with this code."""
    body = response.json()
    assert (body["code"], response.status_code) == (code, 200), body
    return body["data"]


def stored(site: Site, command_id: str) -> dict[str, Any]:
    """A command as the API shows it."""
    command: dict[str, Any] = data(site.call("get", {"commandId": command_id}, method="GET"))
    return command


def metric(site: Site, name: str) -> float:
    """One number of the metrics page, 0 where it is not there."""
    lines = site.http.get("/metrics").text.splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"enos_ingest_{name} ")), 0.0)


def eventually(true: Callable[[], bool]) -> None:
    """Wait for something that nobody tells us of."""
    deadline = time.monotonic() + _SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


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
    command = data(site.set(timeout=1), 11915)["commandId"]
    assert 0.9 < time.monotonic() - started < 8
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


def test_a_call_with_a_token_and_a_signature(site: Site, device: TestClient) -> None:
    """As EnOS's own clients call; over the query as it is decoded and the body as it is sent."""
    device.on_command(lambda _: None)
    stamp = str(time.time_ns() // 1_000_000)
    encryption = hashlib.sha256(f"app-key{stamp}app-secret".encode()).hexdigest()
    login = {"appKey": "app-key", "encryption": encryption, "timestamp": stamp}
    token = site.http.post("/apim-token-service/v2.0/token/get", json=login).json()["data"]["accessToken"]
    query = {"action": "setMeasurepoint", "orgId": ORG, **KEYS, "measurepointId": "label"}
    body = '{"value": "é"}'.encode()
    headers = {
        "apim-accesstoken": token,
        "apim-timestamp": stamp,
        "apim-signature": sign_call(token, query.items(), body, stamp, "app-secret"),
    }
    command = data(site.http.post(COMMANDS, params=query, content=body, headers=headers))["commandId"]
    assert stored(site, command)["application"] == "scada"
    tampered = site.http.post(COMMANDS, params=query, content=b'{"value": "e"}', headers=headers)
    assert (tampered.status_code, tampered.json()["code"]) == (401, 99401)


def test_a_caller_who_hangs_up_leaves_nothing_behind(
    site: Site, device: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    """The command goes on: the device has it, and may answer."""
    caplog.set_level(logging.INFO, "enos_ingest.http.commands")
    before = metric(site, 'calls_total{action="setMeasurepoint",code="499"}')
    with socket.create_connection((site.hub.host, int(site.hub.http_url.rpartition(":")[2]))) as caller:
        query = "&".join(f"{name}={value}" for name, value in {**KEYS, "measurepointId": "level", "orgId": ORG}.items())
        caller.sendall(
            f"POST {COMMANDS}?action=setMeasurepoint&{query} HTTP/1.1\r\nHost: hub\r\n"
            f'Authorization: Bearer key-scada\r\nContent-Length: 11\r\n\r\n{{"value":1}}'.encode()
        )
        command = device.next_command()
    eventually(lambda: metric(site, 'calls_total{action="setMeasurepoint",code="499"}') == before + 1)
    assert audited(caplog)[-1]["code"] == 499
    assert metric(site, "commands_waiting") == 1
    device.answer(command)
    assert stored(site, command.id)["state"] == 5
    assert metric(site, "commands_waiting") == 0


def audited(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """The fields of each audit line."""
    events = [record.msg for record in caplog.records if record.name == "enos_ingest.http.commands"]
    return [dict(event) for event in events if isinstance(event, LogEvent) and event["event"] == "call"]


def test_every_call_that_acts_is_written_down(site: Site, device: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """Who, what, to whom, and how it went; neither credentials nor values. Reading is not."""
    caplog.set_level(logging.INFO, "enos_ingest.http.commands")
    device.on_command(lambda command: 2001 if command.method.endswith("limit") else None)
    done = site.set("label", b'{"value":"secret"}').json()
    failed = site.invoke().json()
    bad = site.set("nope").json()
    denied = site.call("cancel", {"assetId": "asset-1"}, application="viewer").json()
    canceled = site.call("cancel", {"assetId": "asset-1"}).json()
    site.call("get", {"commandId": done["data"]["commandId"]}, method="GET")
    site.call("search", {})
    site.call("cancel", KEYS, application="wrong")
    lines = audited(caplog)
    assert all(0 <= line.pop("milliseconds") < 10_000 for line in lines)
    common = {"event": "call", "application": "scada", "device": DEVICE, "command": None}
    sets, calls = {"action": "setMeasurepoint"}, {"action": "invokeService", "identifier": "limit"}
    cancels = {"event": "call", "action": "cancel", "identifier": None, "command": None}
    assert lines == [
        {**common, **sets, "identifier": "label", "command": done["data"]["commandId"], "code": 0, **_request(done)},
        {**common, **calls, "command": failed["data"]["commandId"], "code": 11999, **_request(failed)},
        {**common, **sets, "identifier": "nope", "code": 99404, **_request(bad)},
        {**cancels, "application": "viewer", "device": None, "code": 99403, **_request(denied)},
        {**cancels, "application": "scada", "device": "assetId asset-1", "code": 0, **_request(canceled)},
    ]
    assert "secret" not in caplog.text
    assert "key-scada" not in caplog.text


def _request(envelope: dict[str, Any]) -> dict[str, Any]:
    return {"request": envelope["requestId"]}


def test_a_fault_of_ours_is_99500_with_a_log_line_and_the_hub_goes_on(
    site: Site, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The traceback is in the log, beside the id that the caller was given."""

    async def broken(*_: object) -> None:
        raise RuntimeError("a part is broken")

    with monkeypatch.context() as patch:
        patch.setattr(Commands, "search", broken)
        response = site.call("search", {})
    body = response.json()
    expected = (500, 99500, "the hub made a mistake; its log says more")
    assert (response.status_code, body["code"], body["msg"]) == expected
    (record,) = [record for record in caplog.records if record.exc_info]
    assert (record.levelname, "a part is broken" in caplog.text) == ("ERROR", True)
    assert body["requestId"] in record.getMessage()
    assert data(site.call("search", KEYS)) is not None


def test_calls_are_counted_by_action_and_code(site: Site) -> None:
    """What strangers write is no label."""
    series = 'calls_total{action="unknown",code="99400"}'
    before = metric(site, series)
    site.call('x"}\n', {})
    site.call(None, {})
    assert metric(site, series) == before + 2
    assert metric(site, "commands_cached") == 0


def test_many_callers_each_get_the_answer_to_their_own_command(
    site: Site, device: TestClient, background: ThreadPoolExecutor
) -> None:
    """Answered in the reverse order."""
    bodies = [b'{"inputData":{"limit":%d}}' % number for number in range(8)]
    calls: list[Future[httpx.Response]] = [background.submit(site.invoke, "limit", body) for body in bodies]
    for command in [device.next_command() for _ in bodies][::-1]:
        device.answer(command, {"applied": command.params["limit"]})
    assert [data(call.result())["outputData"] for call in calls] == [{"applied": number} for number in range(8)]


def test_without_credentials_one_may_read_where_anybody_may_and_never_command() -> None:
    """`security.anonymous`, which only a loopback bind allows."""
    with run_site(security__anonymous=True) as site:
        assert data(site.call("search", {}, application=None)) == []
        response = site.call("cancel", KEYS, application=None)
        assert (response.status_code, response.json()["code"]) == (403, 99403)


def test_callers_who_wait_are_told_when_the_hub_stops(background: ThreadPoolExecutor) -> None:
    """Their command was sent, and is not sent again at the next start."""
    with run_site() as site, site.hub.connect(DEVICE) as device:
        call = background.submit(site.set, timeout=60)
        command = device.next_command()
        stopping = threading.Thread(target=site.hub.stop)
        stopping.start()
        assert data(call.result(), 11915)["commandId"] == command.id
        stopping.join()
