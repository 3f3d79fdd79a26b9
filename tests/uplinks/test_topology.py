"""`topo/add`, `topo/delete` and `topo/get`: every code, what is stored, and what holds for the next message."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from enos_ingest.devices.changes import TopologyAdded, TopologyRemoved
from enos_ingest.protocol.identity import Channel, DeviceId, Publisher
from tests.uplinks.fleet import (
    FREE,
    GATEWAY,
    GATEWAYS,
    NEIGHBOUR,
    RECEIVED,
    SUB,
    SUBS,
    TAKEN,
    WAITING,
    Fleet,
    keys,
    signed,
)
from tests.uplinks.gateways import told

NOBODY = DeviceId(SUBS, "nobody")

ADD, DELETE, GET = "topo/add", "topo/delete", "topo/get"

UPPER = {**signed(FREE, signMethod=None), "signmethod": "hmacSha256", "sign": signed(FREE)["sign"].upper()}


@pytest.mark.parametrize(
    "item",
    [
        pytest.param(signed(FREE), id="Java"),
        pytest.param(signed(FREE, signMethod="hmacsha256"), id="Python"),
        pytest.param(signed(FREE, timestamp=1795221824982), id="Node.js"),
        pytest.param(UPPER, id="C"),
    ],
)
def test_a_gateway_takes_a_sub_device_on(item: dict[str, Any]) -> None:
    """As each SDK signs; it is stored, and holds for the next message."""
    fleet = Fleet()
    outcome = fleet.ask(ADD, [item])
    assert orjson.loads(outcome.reply) == {"id": "7", "code": 200, "data": {}}
    assert outcome.record is not None
    assert outcome.record.changes == (TopologyAdded(GATEWAY, (FREE,), RECEIVED),)
    assert fleet.directory.sub_devices(GATEWAY) == {SUB, FREE}


def test_what_a_gateway_has_already_changes_nothing() -> None:
    """Alone, or beside others, and where it is named twice; nor does an empty list."""
    fleet = Fleet()
    for params in ([], [signed(SUB)]):
        assert fleet.ask(ADD, params).record is None
    outcome = fleet.ask(ADD, [signed(SUB), signed(FREE), signed(FREE)])
    assert told(outcome) == (200, "")
    assert outcome.record is not None
    assert outcome.record.changes == (TopologyAdded(GATEWAY, (FREE,), RECEIVED),)


def test_a_sub_device_may_belong_to_two_gateways() -> None:
    """Each of them has its word."""
    fleet = Fleet()
    assert told(fleet.ask(ADD, [signed(TAKEN)])) == (200, "")
    assert fleet.directory.gateways(TAKEN) == {GATEWAY, NEIGHBOUR}


NOT_MATCHING = f"the signature of {FREE} does not match"


@pytest.mark.parametrize(
    ("item", "code", "message"),
    [
        (signed(NOBODY), 705, f"params[1]: device {NOBODY} is not registered"),
        (signed(DeviceId("nope", "x")), 705, "params[1]: device nope/x is not registered"),
        (signed(FREE, secret="other"), 742, f"params[1]: {NOT_MATCHING}"),
        (signed(FREE, clientId="other"), 742, f"params[1]: {NOT_MATCHING}"),
        (signed(FREE, timestamp="1"), 742, f"params[1]: {NOT_MATCHING}"),
        (signed(FREE, signMethod="rot13"), 742, f"params[1]: {NOT_MATCHING}"),
        (signed(WAITING), 742, f"params[1]: the signature of {WAITING} does not match"),
        (signed(NEIGHBOUR), 1200, f"params[1]: {NEIGHBOUR} is a gateway itself"),
        (signed(GATEWAY), 1200, "params[1]: a gateway cannot be its own sub-device"),
        ({**signed(FREE), "sign": ""}, 1220, "params[1].sign: at least 1 character"),
        ({**signed(FREE), "productKey": ""}, 1220, "params[1].productKey: at least 1 character"),
        ({**signed(FREE), "deviceKey": 1}, 1220, "params[1].deviceKey: expected a string"),
        (keys(FREE)[0], 1220, "params[1].clientId: missing"),
        ("x", 1220, "params[1]: expected an object"),
    ],
)
def test_one_fault_keeps_all_sub_devices_out(item: Any, code: int, message: str) -> None:
    """Also those that stand before it."""
    fleet = Fleet()
    assert told(fleet.ask(ADD, [signed(TAKEN), item])) == (code, message)
    assert fleet.directory.topology == {GATEWAY: {SUB}, NEIGHBOUR: {TAKEN}}


def test_a_sub_device_is_no_gateway() -> None:
    """It can neither take others on nor ask for those that it has."""
    fleet = Fleet()
    message = f"{SUB} is not a gateway: it is a sub-device of {GATEWAY}"
    assert told(fleet.ask(ADD, [signed(FREE)], SUB)) == (1200, message)
    assert told(fleet.ask(GET, {}, SUB)) == (1200, message)


def test_a_gateway_lets_sub_devices_go() -> None:
    """It is stored, and holds for the next message."""
    fleet = Fleet()
    fleet.ask(ADD, [signed(FREE)])
    outcome = fleet.ask(DELETE, keys(SUB, FREE, SUB))
    assert orjson.loads(outcome.reply) == {"id": "7", "code": 200, "data": {}}
    assert outcome.record is not None
    assert outcome.record.changes == (TopologyRemoved(GATEWAY, (SUB, FREE), RECEIVED),)
    assert fleet.directory.sub_devices(GATEWAY) == frozenset()
    assert told(fleet.ask(DELETE, keys(SUB))) == (1256, f"{GATEWAY} is not a gateway")


def test_an_empty_list_lets_nobody_go() -> None:
    """And is granted to a gateway."""
    assert Fleet().ask(DELETE, []).record is None
    assert told(Fleet().ask(DELETE, [], FREE)) == (1256, f"{FREE} is not a gateway")


def test_all_that_keeps_sub_devices_is_said_at_once() -> None:
    """None of them goes then; one that is online through another gateway would not be kept."""
    fleet = Fleet()
    fleet.ask(ADD, [signed(FREE), signed(TAKEN)])
    fleet.presence.login(GATEWAY, FREE)
    fleet.presence.login(NEIGHBOUR, TAKEN)
    assert told(fleet.ask(DELETE, keys(SUB, NOBODY, NEIGHBOUR, FREE, TAKEN))) == (
        1256,
        f"device {NOBODY} is not registered; {NEIGHBOUR} is not a sub-device of {GATEWAY}; {FREE} is online",
    )
    assert fleet.directory.sub_devices(GATEWAY) == {SUB, FREE, TAKEN}
    assert told(fleet.ask(DELETE, keys(SUB, TAKEN))) == (200, "")


def test_a_gateway_asks_for_its_sub_devices() -> None:
    """In order of their keys, with their asset ids; a device of which none is known to be a gateway has none yet."""
    fleet = Fleet()
    fleet.ask(ADD, [signed(FREE)])
    assert orjson.loads(fleet.ask(GET, {}).reply) == {
        "id": "7",
        "code": 200,
        "data": [
            {"productKey": SUBS, "deviceKey": "free", "assetId": "asset-free"},
            {"productKey": SUBS, "deviceKey": "sub001", "assetId": "asset-sub001"},
        ],
    }
    assert orjson.loads(fleet.ask(GET, {}, WAITING).reply)["data"] == []
    assert told(fleet.send(GET, {"method": "thing.topo.get"})) == (200, "")


@pytest.mark.parametrize(
    ("action", "params"), [(ADD, [signed(FREE)]), (DELETE, keys(SUB)), (GET, {}), ("device/register", [])]
)
@pytest.mark.parametrize(
    ("device", "by", "message"),
    [
        (GATEWAY, NEIGHBOUR, f"{NEIGHBOUR} may not act as {GATEWAY}"),
        (SUB, GATEWAY, f"{GATEWAY} may not act as {SUB}"),
        (GATEWAY, Channel(GATEWAYS), f"{Channel(GATEWAYS)} may not act as {GATEWAY}"),
        (NOBODY, NOBODY, f"device {NOBODY} is not registered"),
    ],
)
def test_nobody_acts_for_another(action: str, params: Any, device: DeviceId, by: Publisher, message: str) -> None:
    """Not even a gateway for its sub-device."""
    assert told(Fleet().ask(action, params, device, by)) == (1009, message)


@pytest.mark.parametrize("action", [ADD, DELETE, GET, "device/register"])
def test_what_is_no_such_request_gets_the_common_codes(action: str) -> None:
    """1251 for nothing, 1220 for no JSON, 1260 for another method."""
    fleet = Fleet()
    method = f"thing.{action.replace('/', '.')}"
    assert told(fleet.send(action, b"")) == (1251, "payload is empty")
    assert told(fleet.send(action, b"{"))[0] == 1220
    assert told(fleet.send(action, {"method": "x", "params": []})) == (1260, f'method: expected "{method}"')
    if action != GET:
        assert told(fleet.send(action, {"method": method})) == (1220, "params: missing")
        assert told(fleet.send(action, {"method": method, "params": {}})) == (1220, "params: expected an array")
