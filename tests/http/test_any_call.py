"""Calls made up from the OpenAPI document: whatever comes, the hub makes no mistake, and answers as is described."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from enos_ingest.http.openapi import describe_api
from enos_ingest.testing.commands import ReceivedCommand
from tests.http.commands_site import CODED, COMMANDS, ORG, PRODUCT, Site, run_site

POSITIVE, NEGATIVE = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE

API = schemathesis.openapi.from_dict(describe_api())
OPERATIONS = [(path, method.upper()) for path, methods in API.raw_schema["paths"].items() for method in methods]

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)

DEVICES: list[dict[str, str]] = [
    {"assetId": "asset-1"},
    {"productKey": PRODUCT, "deviceKey": "zBAofs6D4s", "assetId": "asset-1"},
    {"productKey": PRODUCT, "deviceKey": "never"},
    {"productKey": PRODUCT, "deviceKey": "sub"},
    {"productKey": CODED, "deviceKey": "coded"},
]
POINTS = st.sampled_from(["measurepoint1", "level", "speed", "mode", "label", "on", "curve", "position", "counter"])
INPUTS = st.fixed_dictionaries({}, optional={"limit": st.integers(0, 100) | JSON, "duration": st.just(5) | JSON})

patient = settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    phases=[Phase.generate],  # what fails is seen as it is: a call that is tried again meets another hub
    derandomize=True,
)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Two devices of it answer each command in one of several ways; one has a codec and answers what it cannot read."""
    answers: list[dict[str, Any] | int | bytes | None] = [None, {"applied": 1}, {"applied": "x"}, 2001, 0]

    def answer(command: ReceivedCommand) -> dict[str, Any] | int | bytes | None:
        return answers[int(command.id) // 262_144 % len(answers)]

    with run_site() as running, ExitStack() as connected:
        for name in (f"{PRODUCT}/zBAofs6D4s", f"{PRODUCT}/gateway"):
            device = connected.enter_context(running.hub.connect(name))
            device.on_command(answer)
        assert device.login(f"{PRODUCT}/sub", "x")["code"] == 200
        yield running


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as made:
        made.trust_env = False
        yield made


@pytest.mark.parametrize("mode", [POSITIVE, NEGATIVE], ids=["good", "bad"])
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_any_call_is_answered_as_described(
    site: Site, session: requests.Session, path: str, method: str, mode: schemathesis.GenerationMode
) -> None:
    """Arguments that the document allows, and others, which are refused."""
    operation = API[path][method]
    if mode is NEGATIVE and not (list(operation.query) or list(operation.body)):
        return
    checks = [*CHECKS, negative_data_rejection] if mode is NEGATIVE and path == COMMANDS else CHECKS

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(patient, max_examples=50)
    def call(case: schemathesis.Case[Any]) -> None:
        send(site, session, case, checks)

    call()


@st.composite
def sensible(draw: st.DrawFn) -> tuple[str, dict[str, str], Any]:
    """A call about something that there is: action, query, body."""
    action = draw(st.sampled_from(["setMeasurepoint", "invokeService", "search", "cancel"]))
    query = dict(draw(st.sampled_from(DEVICES)))
    match action:
        case "setMeasurepoint":
            query["measurepointId"] = draw(POINTS)
            body = {"value": draw(st.integers(0, 1) | JSON)}
        case "invokeService":
            query["serviceId"] = draw(st.sampled_from(["limit", "restart"]))
            body = {"inputData": draw(INPUTS)}
        case "search":
            body = draw(st.sampled_from([{"expression": "state in (1, 5)"}, {"pagination": {"pageSize": 3}}, {}]))
        case _:
            return action, query, None
    if action != "search":
        # One that can only time out is for other tests.
        ttl = st.just("172800") if query.get("deviceKey") in {"never", "coded"} else st.sampled_from(["0", "1"])
        query |= {"pendingTtl": draw(ttl), "timeout": "5"}
    return action, query, body


def test_any_sensible_call_is_answered_as_described(site: Site, session: requests.Session) -> None:
    """Values and inputs of all kinds, to devices that answer in many ways: some good ends and some bad."""
    operation = API[COMMANDS]["POST"]
    seen: dict[int, int] = {}

    @given(call=sensible())
    @settings(patient, max_examples=120)
    def send_it(call: tuple[str, dict[str, str], Any]) -> None:
        action, query, body = call
        more: Mapping[str, Any] = {} if body is None else {"body": body, "media_type": "application/json"}
        case = operation.Case(query={"action": action, "orgId": ORG, **query}, **more)
        code = send(site, session, case, CHECKS).json()["code"]
        seen[code] = seen.get(code, 0) + 1

    send_it()
    assert seen.keys() >= {0, 99400, 11999}, seen


def send(site: Site, session: requests.Session, case: schemathesis.Case[Any], checks: list[Any]) -> Any:
    """Make a call with credentials that are good, and hold its answer against the document."""
    headers = {"Authorization": "Bearer key-scada"}
    response = case.call(base_url=site.hub.http_url, session=session, headers=headers, timeout=60)
    case.validate_response(response, checks=checks, headers=headers)
    return response
