"""Who calls about commands, what is written down and counted of it, and how calls end that nobody answers."""

from __future__ import annotations

import hashlib
import logging
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from enos_ingest.commands.commands import Commands
from enos_ingest.http.callers import sign_call
from enos_ingest.logs import LogEvent
from enos_ingest.testing.client import TestClient
from tests.endpoint.waiting import eventually
from tests.http.commands_site import COMMANDS, DEVICE, KEYS, ORG, PRODUCT, Site, data, run_site, stored


def metric(site: Site, name: str) -> float:
    """One number of the metrics page, 0 where it is not there."""
    lines = site.http.get("/metrics").text.splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"enos_ingest_{name} ")), 0.0)


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
    again = site.http.post(COMMANDS, params=query, content=body, headers=headers)
    assert (again.status_code, again.json()["code"], again.json()["data"]) == (409, 99409, None)
    assert len(data(site.call("search", KEYS))) == 1, "it is not sent again"


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
    forbidden = site.call(
        "setMeasurepoint", {**KEYS, "measurepointId": "label"}, b'{"value":"secret"}', application="viewer"
    ).json()
    half = site.call("invokeService", {"deviceKey": "x" * 300, "serviceId": ""}, b"{}").json()
    cached = [site.set("level", b'{"value":1}', deviceKey="other", pendingTtl=60).json() for _ in range(2)]
    canceled = site.call("cancel", {"assetId": "asset-2"}).json()
    nothing = site.call("cancel", {"assetId": "asset-1"}).json()
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
        {**cancels, "application": "viewer", "device": "assetId asset-1", "code": 99403, **_request(denied)},
        {**common, **sets, "application": "viewer", "identifier": "label", "code": 99403, **_request(forbidden)},
        {
            **common,
            "action": "invokeService",
            "device": f"/{'x' * 255}…",
            "identifier": None,
            "code": 99400,
            **_request(half),
        },
        *(
            {
                **common,
                **sets,
                "device": f"{PRODUCT}/other",
                "identifier": "level",
                "command": each["data"]["commandId"],
                "code": 0,
                **_request(each),
            }
            for each in cached
        ),
        {
            **cancels,
            "application": "scada",
            "device": "assetId asset-2",
            "canceled": 2,
            "code": 0,
            **_request(canceled),
        },
        {**cancels, "application": "scada", "device": "assetId asset-1", "canceled": 0, "code": 0, **_request(nothing)},
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
