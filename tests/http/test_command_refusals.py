"""Calls that are refused: each with its code, its HTTP status and a sentence that says what to mend."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.http.commands_site import BARE, CODED, COMMANDS, PRODUCT, Site, run_site

DEVICE = {"productKey": PRODUCT, "deviceKey": "zBAofs6D4s"}
POINT = {**DEVICE, "measurepointId": "measurepoint1"}
ONE = b'{"value":1.0}'


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with run_site(commands__cached_per_device=2) as running:
        yield running


def refused(response: Any, code: int, message: str) -> None:
    """The envelope of a refusal, whole."""
    body = response.json()
    status = code - 99000 if code > 99000 else 200
    assert (response.status_code, body["code"], body["msg"]) == (status, code, message)
    assert list(body) == ["code", "msg", "submsg", "requestId", "data"]
    assert (body["submsg"], body["data"]) == (None, None)
    assert len(body["requestId"]) == 32


@pytest.mark.parametrize(
    ("action", "query", "message"),
    [
        (None, {}, "action is missing"),
        ("", {}, "action is missing"),
        (
            "setmeasurepoint",
            {},
            "action is unknown: expected one of setMeasurepoint, invokeService, get, search, cancel",
        ),
        ("get", {"commandId": "1"}, "get is called with GET"),
        ("setMeasurepoint", {**POINT, "orgId": None}, "orgId is missing"),
        ("setMeasurepoint", {**POINT, "orgId": ""}, "orgId is empty"),
        ("setMeasurepoint", {**POINT, "pendingTTL": 5}, "unknown parameter pendingTTL: did you mean pendingTtl?"),
        ("setMeasurepoint", {**POINT, "serviceId": "restart"}, None),
        ("setMeasurepoint", DEVICE, "measurepointId is missing"),
        ("invokeService", DEVICE, "serviceId is missing"),
        (
            "setMeasurepoint",
            {"measurepointId": "a"},
            "the device is missing: give assetId, or productKey and deviceKey",
        ),
        ("cancel", {}, "the device is missing: give assetId, or productKey and deviceKey"),
        (
            "setMeasurepoint",
            {"measurepointId": "a", "productKey": PRODUCT},
            "deviceKey is missing: a device is named by productKey and deviceKey, or by assetId",
        ),
        ("setMeasurepoint", {**POINT, "timeout": 0}, "timeout is 0: expected a whole number of seconds from 1 to 60"),
        ("setMeasurepoint", {**POINT, "timeout": 61}, "timeout is 61: expected a whole number of seconds from 1 to 60"),
        ("setMeasurepoint", {**POINT, "timeout": ""}, "timeout is empty"),
        (
            "setMeasurepoint",
            {**POINT, "pendingTtl": 172801},
            "pendingTtl is 172801: expected a whole number of seconds from 0 to 172800",
        ),
        (
            "setMeasurepoint",
            {**POINT, "assetId": "asset-2"},
            "assetId names another device than productKey and deviceKey",
        ),
        (
            "setMeasurepoint",
            {**POINT, "measurepointId": "counter"},
            "measurepointId counter is read-only in the thing model",
        ),
        ("search", {"commandId": "1"}, None),
    ],
)
def test_an_argument_that_is_not_as_it_should_be_is_99400(
    site: Site, action: str | None, query: dict[str, object], message: str | None
) -> None:
    """HTTP 400, and which argument."""
    response = site.call(action, query, ONE)
    refused(response, 99400, message or response.json()["msg"])


@pytest.mark.parametrize("name", ["action", "orgId", "productKey", "measurepointId", "timeout"])
def test_a_parameter_that_is_given_twice_is_99400(site: Site, name: str) -> None:
    """Nobody can know which is meant."""
    items = {"action": "setMeasurepoint", "orgId": "o15535059999891", **POINT, "timeout": "5"}
    query = httpx.QueryParams([*items.items(), (name, items[name])])
    headers = {"Authorization": "Bearer key-scada"}
    refused(
        site.http.post(COMMANDS, params=query, content=ONE, headers=headers), 99400, f"{name} is given more than once"
    )


@pytest.mark.parametrize(
    ("action", "query", "message"),
    [
        ("setMeasurepoint", {**POINT, "orgId": "o1"}, "orgId o1 does not exist"),
        ("get", {"commandId": "1", "orgId": "o1"}, "orgId o1 does not exist"),
        ("search", {"orgId": "o1"}, "orgId o1 does not exist"),
        ("cancel", {**DEVICE, "orgId": "o1"}, "orgId o1 does not exist"),
        ("setMeasurepoint", {**POINT, "deviceKey": "x"}, f"productKey {PRODUCT}, deviceKey x: there is no such device"),
        ("setMeasurepoint", {"assetId": "asset-9", "measurepointId": "a"}, "assetId asset-9 does not exist"),
        (
            "setMeasurepoint",
            {**POINT, "measurepointId": "measurepoint2"},
            "measurepointId measurepoint2 does not exist: the thing model pump has none of this name",
        ),
        (
            "invokeService",
            {**DEVICE, "serviceId": "measurepoint1"},
            "serviceId measurepoint1 does not exist: the thing model pump has none of this name",
        ),
        (
            "setMeasurepoint",
            {"productKey": BARE, "deviceKey": "bare", "measurepointId": "a"},
            "measurepointId a does not exist: its product has no thing model",
        ),
        ("get", {"commandId": "118249003718017024"}, "commandId 118249003718017024 does not exist"),
        ("get", {"commandId": "x' or 1=1"}, "commandId x' or 1=1 does not exist"),
        ("cancel", {**DEVICE, "commandId": "1"}, f"commandId 1 does not exist among those of {PRODUCT}/zBAofs6D4s"),
    ],
)
def test_what_does_not_exist_is_99404(site: Site, action: str, query: dict[str, object], message: str) -> None:
    """HTTP 404, and what."""
    body = b'{"inputData":{}}' if action == "invokeService" else b"" if action == "search" else ONE
    refused(site.call(action, query, body, method="GET" if action == "get" else "POST"), 99404, message)


def test_a_command_of_another_device_is_not_found(site: Site) -> None:
    """Where a call names both, they must agree."""
    command = site.set(pendingTtl=60).json()["data"]["commandId"]
    query = {"commandId": command, "assetId": "asset-2"}
    said = f"commandId {command} does not exist among those of {PRODUCT}/other"
    refused(site.call("get", query, method="GET"), 99404, said)
    refused(site.call("cancel", query), 99404, said)
    assert site.call("cancel", {"commandId": command, "assetId": "asset-1"}).json()["data"][0]["state"] == 2


@pytest.mark.parametrize(
    ("point", "value", "message"),
    [
        ("measurepoint1", '"1.0"', "value: expected a number"),
        ("measurepoint1", "true", "value: expected a number"),
        ("measurepoint1", "null", "value: is null"),
        ("level", "1.5", "value: expected an integer"),
        ("level", "2147483648", "value: at most 2147483647"),
        ("speed", '{"value":1,"quality":0}', "value: expected an integer"),
        ("mode", "2", "value: expected one of 0, 1"),
        ("label", '"123456789"', "value: at most 8 characters"),
        ("on", "1", "value: expected a boolean"),
        ("curve", "[1,[2]]", "value[1]: expected a number, also as a decimal string"),
        ("position", '{"x":1,"unit":2}', "value.unit: expected a string"),
        ("position", '{"unit":"m"}', "value.x: missing"),
    ],
)
def test_a_value_that_does_not_fit_the_thing_model_is_99400_with_its_path(
    site: Site, point: str, value: str, message: str
) -> None:
    """Before anything is sent or stored."""
    refused(site.set(point, b'{"value":%b}' % value.encode(), pendingTtl=60), 99400, message)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", 'the body is empty: expected a JSON object such as {"value": 1.0}'),
        (b"value=1.0", None),
        (b"[]", 'the body is not a JSON object such as {"value": 1.0}'),
        (b"{}", "value: missing"),
        (b'{"Value":1.0}', "unknown member Value in the body: did you mean value?"),
        (b'{"value":NaN}', None),
        (b'{"value":' + b"[" * 1025 + b"]" * 1025 + b"}", None),
        (b'{"value":' + b"[" * 500 + b"]" * 500 + b"}", "value: expected a number"),
        (b'{"value":' + b'{"a":' * 300 + b"1" + b"}" * 300 + b"}", "value: expected a number"),
    ],
    ids=["empty", "form", "array", "no value", "misspelt", "NaN", "too deep", "deep arrays", "deep objects"],
)
def test_a_body_that_holds_no_value_is_99400(site: Site, body: bytes, message: str | None) -> None:
    """Whatever it is instead."""
    response = site.set(body=body)
    refused(response, 99400, message or response.json()["msg"])
    assert message or response.json()["msg"].startswith("the body is not JSON: ")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"inputData":[]}', "inputData: expected an object"),
        (b'{"inputData":{"limit":60,"x":1}}', "inputData.x: unknown"),
        (b'{"inputData":{"limit":101}}', "inputData.limit: at most 100"),
        (b"{}", "inputData.limit: missing"),
        (b'{"inputData":null}', "inputData.limit: missing"),
    ],
)
def test_inputs_that_do_not_fit_the_service_are_99400(site: Site, body: bytes, message: str) -> None:
    """Likewise."""
    refused(site.invoke(body=body), 99400, message)


def test_a_body_over_the_limit_is_99413(site: Site) -> None:
    """HTTP 413."""
    response = site.set(body=b'{"value":"' + b"x" * 1_048_576 + b'"}')
    refused(response, 99413, "the body is longer than 1048576 bytes")


def test_credentials_come_before_everything(site: Site) -> None:
    """A stranger learns nothing about what there is."""
    for application in (None, "wrong"):
        response = site.call("nothing", {"orgId": "o1"}, b"x", application=application)
        assert (response.status_code, response.json()["code"]) == (401, 99401)
        assert response.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    ("action", "application", "scope"),
    [
        ("setMeasurepoint", "viewer", "control"),
        ("invokeService", "viewer", "control"),
        ("cancel", "viewer", "control"),
        ("search", "remote", "read"),
        ("get", "remote", "read"),
        ("get", "nobody", "read"),
    ],
)
def test_a_scope_that_is_missing_is_99403_whatever_the_arguments(
    site: Site, action: str, application: str, scope: str
) -> None:
    """The scope is looked at before the arguments."""
    response = site.call(
        action, {"orgId": ""}, b"x", method="GET" if action == "get" else "POST", application=application
    )
    refused(response, 99403, f"the application {application} needs the scope {scope}")


@pytest.mark.parametrize(
    ("device", "code", "message"),
    [
        ("zBAofs6D4s", 11888, "the device has never been online, an instant command cannot be sent"),
        ("offline", 11900, "the device is offline, an instant command cannot be sent"),
        ("disabled", 11900, "the device is disabled, which counts as offline: an instant command cannot be sent"),
        ("sub", 11900, "the device is offline, an instant command cannot be sent"),
    ],
)
def test_an_instant_command_needs_a_device_that_is_online(site: Site, device: str, code: int, message: str) -> None:
    """A business code: HTTP 200, and nothing is stored."""
    before = site.call("search", {}).json()["pagination"]["totalSize"]
    refused(site.set(deviceKey=device), code, message)
    refused(site.invoke(deviceKey=device), code, message)
    assert site.call("search", {}).json()["pagination"]["totalSize"] == before


def test_more_cached_commands_than_the_limit_are_11902(site: Site) -> None:
    """Those of other devices do not count; a canceled one makes room."""
    for _ in range(2):
        assert site.set(deviceKey="never", pendingTtl=60).json()["code"] == 0
    message = "2 cached commands of the device are unfinished, more are not kept"
    refused(site.set(deviceKey="never", pendingTtl=60), 11902, message)
    assert site.set(deviceKey="other", pendingTtl=60).json()["code"] == 0
    assert len(site.call("cancel", {"productKey": PRODUCT, "deviceKey": "never"}).json()["data"]) == 2
    assert site.set(deviceKey="never", pendingTtl=60).json()["code"] == 0


def test_what_the_codec_of_a_product_cannot_encode_is_11810(site: Site) -> None:
    """Cached or not, before it is stored; the value itself fits the thing model."""
    for ttl in (0, 60):
        response = site.set("curve", b'{"value":[1,2]}', productKey=CODED, deviceKey="coded", pendingTtl=ttl)
        refused(response, 11810, response.json()["msg"])
        assert response.json()["msg"].startswith("the command cannot be encoded: ")
    assert site.call("search", {"productKey": CODED, "deviceKey": "coded"}).json()["data"] == []


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_another_method_is_405(site: Site, method: str) -> None:
    """With those that there are."""
    response = site.call("cancel", DEVICE, method=method)
    assert response.status_code == 405
    assert set(response.headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}


def test_head_does_nothing(site: Site) -> None:
    """A prober that turns GET into HEAD must not cancel anything."""
    site.set(deviceKey="other", pendingTtl=60)
    assert site.call("cancel", {"assetId": "asset-2"}, method="HEAD").status_code == 400
    assert len(site.call("cancel", {"assetId": "asset-2"}).json()["data"]) >= 1


@pytest.mark.parametrize(
    "body",
    [
        b"x",
        b"[]",
        b'{"expresion":"state = 1"}',
        b'{"expression":"state like 1"}',
        b'{"expression":"state = 1 or or"}',
        b'{"pagination":{"pageSize":1001}}',
        b'{"pagination":{"pageNo":0}}',
        b'{"projection":"commandId"}',
    ],
)
def test_a_search_that_cannot_be_understood_is_99400(site: Site, body: bytes) -> None:
    """With what is wrong."""
    response = site.call("search", {}, body)
    refused(response, 99400, response.json()["msg"])
