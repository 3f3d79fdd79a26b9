"""Login and logout of sub-devices: every code, what the reply holds, and who is online afterwards."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from enos_ingest.protocol.credentials import sign
from enos_ingest.protocol.identity import Channel, DeviceId, Publisher
from tests.uplinks.gateways import (
    DISABLED,
    FOREIGN,
    GATEWAY,
    NEIGHBOUR,
    OLD,
    RECEIVED,
    SECOND,
    SECRET,
    SUB,
    SWITCHED_OFF,
    THIRD,
    Gateways,
    login_request,
    told,
)

PYTHON = {
    "clientId": "Sb7PkXyZsub0011795221824982",
    "timestamp": "1795221824982",
    "signMethod": "hmacsha256",
    "secureMode": "2",
    "cleanSession": "False",
    "sign": "609f972c800b4bd2c474a440be91d2c8f60160794726f86a913af505f56b1368",
}
NODE = {
    "clientId": "sub001",
    "timestamp": 1795221828072,
    "signMethod": "sha256",
    "sign": "BA90E46F21A16A3AD91E68653F220250291ED6C697D454EFA27571D7A57F8026",
}


def made(client_id: str, timestamp: str, **more: Any) -> dict[str, Any]:
    """Params signed as the SDKs sign them."""
    content = f"clientId{client_id}deviceKeysub001productKeySb7PkXyZtimestamp{timestamp}"
    return {"clientId": client_id, "timestamp": timestamp, "sign": sign(SECRET, content), **more}


JAVA = made("Sb7PkXyZ.sub001.1795221824982", "1795221824982", signMethod="sha256", secureMode="2")
C = made("Sb7PkXyZsub001", "2524608000000", signMethod="Sha256", cleanSession="true")
C["sign"] = C["sign"].upper()


@pytest.mark.parametrize(
    "params",
    [
        pytest.param(PYTHON, id="Python, captured"),
        pytest.param(NODE, id="Node.js, captured"),
        pytest.param(JAVA, id="Java"),
        pytest.param(C, id="C"),
        pytest.param(made("sub001", "1", signMethod=None, secureMode=2), id="no method named, mode a number"),
        pytest.param(made("sub001", "1", secureMode=None), id="mode null"),
        pytest.param(made("", "1", signMethod="SHA256", secureMode=""), id="empty client id, mode empty"),
    ],
)
def test_login_of_each_sdk(params: dict[str, Any]) -> None:
    """The reply's data names the sub-device and its asset; the sub-device is online through its gateway."""
    gateways = Gateways()
    request = login_request()
    request["params"] = {"productKey": "Sb7PkXyZ", "deviceKey": "sub001", **params}
    outcome = gateways.send("login", orjson.dumps(request))
    assert orjson.loads(outcome.reply) == {
        "id": "7",
        "code": 200,
        "data": {"productKey": "Sb7PkXyZ", "deviceKey": "sub001", "assetId": "asset-sub001"},
    }
    assert gateways.presence.is_online_through(GATEWAY, SUB)


@pytest.mark.parametrize(
    "changes",
    [{"id": None}, {"id": 9}, {"version": "1.1"}, {"version": None}, {"more": 1}],
    ids=str,
)
def test_envelope_of_a_login_is_read_leniently(changes: dict[str, Any]) -> None:
    """The documents' own sample has no version."""
    assert told(Gateways().send("login", orjson.dumps({**login_request(), **changes}))) == (200, "")


@pytest.mark.parametrize(
    ("sub_device", "changes", "code", "message"),
    [
        (DeviceId("Sb7PkXyZ", "nobody"), {}, 705, "device Sb7PkXyZ/nobody is not registered"),
        (DISABLED, {}, 723, "device Sb7PkXyZ/disabled is disabled"),
        (FOREIGN, {}, 740, "Sb7PkXyZ/foreign is not a sub-device of EbxGvUrE/gw-1"),
        (GATEWAY, {}, 740, "EbxGvUrE/gw-1 is not a sub-device of EbxGvUrE/gw-1"),
        (SUB, {"sign": "00"}, 742, "the signature of Sb7PkXyZ/sub001 does not match"),
        (SUB, {"clientId": "other"}, 742, "the signature of Sb7PkXyZ/sub001 does not match"),
        (SUB, {"timestamp": "2"}, 742, "the signature of Sb7PkXyZ/sub001 does not match"),
        (SUB, {"signMethod": "sha1"}, 742, "the signature of Sb7PkXyZ/sub001 does not match"),
        (SUB, {"signMethod": "rot13"}, 742, "the signature of Sb7PkXyZ/sub001 does not match"),
        (SUB, {"secureMode": "3"}, 770, "product Sb7PkXyZ does not allow dynamic activation"),
        (SUB, {"secureMode": 3}, 770, "product Sb7PkXyZ does not allow dynamic activation"),
        (SUB, {"secureMode": 4}, 770, "device Sb7PkXyZ/sub001 must log in with its own secret"),
    ],
)
def test_login_is_refused(sub_device: DeviceId, changes: dict[str, Any], code: int, message: str) -> None:
    """With a code of its own for each reason; nobody is online afterwards, nothing is activated."""
    gateways = Gateways()
    outcome = gateways.login(sub_device, **changes)
    assert told(outcome) == (code, message)
    assert outcome.record is not None
    assert outcome.record.activated == ()
    assert gateways.presence.online == 0


@pytest.mark.parametrize(
    ("payload", "code", "message"),
    [
        (b"", 1251, "payload is empty"),
        (b"[]", 1220, "payload is not a JSON object"),
        (b"{}", 1260, "method: missing"),
        ({"method": "combine.login"}, 1220, "params: missing"),
        ({**login_request(), "method": "combine.logout"}, 1260, 'method: expected "combine.login"'),
        ({**login_request(), "params": []}, 1220, "params: expected an object"),
        (login_request(productKey=""), 1220, "params.productKey: at least 1 character"),
        (login_request(deviceKey=1), 1220, "params.deviceKey: expected a string"),
        (login_request(timestamp=None), 1220, "params.timestamp: expected a string or a number"),
        (login_request(sign=""), 1220, "params.sign: at least 1 character"),
        (login_request(secureMode=[]), 1220, "params.secureMode: expected a string or an integer"),
        (login_request(signMethod=1), 1220, "params.signMethod: expected a string"),
        ({**login_request(), "id": 1.5}, 1220, "id: expected a string or an integer"),
    ],
)
def test_malformed_login_gets_the_common_codes(payload: Any, code: int, message: str) -> None:
    """1251 for nothing, 1260 for another method, 1220 for the rest."""
    body = payload if isinstance(payload, bytes) else orjson.dumps(payload)
    assert told(Gateways().send("login", body)) == (code, message)


def test_unreadable_login_keeps_its_id() -> None:
    """What is no JSON is answered 1220, with the id that could be found."""
    outcome = Gateways().send("login", b'{"id":"7","method":')
    assert told(outcome)[0] == 1220
    assert orjson.loads(outcome.reply)["id"] == "7"


@pytest.mark.parametrize("action", ["login", "logout"])
@pytest.mark.parametrize("sender", [NEIGHBOUR, SUB, Channel("EbxGvUrE")], ids=str)
def test_session_topics_are_nobody_elses(action: str, sender: Publisher) -> None:
    """Not another gateway's, not a sub-device's, not a channel's."""
    gateways = Gateways()
    gateways.login()
    request = {**login_request(), "method": f"combine.{action}"}
    what = f"{sender} may not use the session topics of EbxGvUrE/gw-1"
    assert told(gateways.send(action, orjson.dumps(request), sender)) == (1009, what)
    assert gateways.presence.sub_devices(GATEWAY) == {SUB}


def test_nobody_comes_online_through_a_gateway_that_is_disabled() -> None:
    """Not at an operator's word, either, who publishes in its name."""
    gateways = Gateways()
    assert told(gateways.login(gateway=SWITCHED_OFF)) == (723, "gateway EbxGvUrE/gw-off is disabled")
    assert gateways.presence.online == 0


def test_logout_takes_offline() -> None:
    """The reply's data names the sub-device, which the C SDK insists on."""
    gateways = Gateways()
    gateways.login()
    outcome = gateways.logout()
    assert orjson.loads(outcome.reply) == {
        "id": "8",
        "code": 200,
        "data": {"productKey": "Sb7PkXyZ", "deviceKey": "sub001"},
    }
    assert outcome.record is None
    assert not gateways.presence.is_online(SUB)


@pytest.mark.parametrize("sub_device", [SUB, FOREIGN, DeviceId("Sb7PkXyZ", "nobody")], ids=str)
def test_logout_of_one_that_is_not_online_is_granted(sub_device: DeviceId) -> None:
    """The wanted state is there already."""
    assert told(Gateways().logout(sub_device)) == (200, "")


def test_malformed_logout_gets_the_common_codes() -> None:
    """As a login does."""
    gateways = Gateways()
    assert told(gateways.send("logout", b"")) == (1251, "payload is empty")
    assert told(gateways.send("logout", b'{"method":"combine.login","params":{}}'))[0] == 1260
    assert told(gateways.send("logout", b'{"method":"combine.logout"}')) == (1220, "params: missing")


def test_newest_login_wins() -> None:
    """The other gateway has the sub-device then; the logout of the first changes nothing."""
    gateways = Gateways()
    gateways.login(gateway=GATEWAY)
    gateways.login(gateway=NEIGHBOUR)
    assert gateways.presence.sub_devices(GATEWAY) == frozenset()
    assert told(gateways.logout(gateway=GATEWAY)) == (200, "")
    assert gateways.presence.is_online_through(NEIGHBOUR, SUB)


def test_refused_login_leaves_the_one_in_force() -> None:
    """A wrong signature from another gateway takes nobody offline."""
    gateways = Gateways()
    gateways.login(gateway=GATEWAY)
    assert told(gateways.login(gateway=NEIGHBOUR, sign="00"))[0] == 742
    assert gateways.presence.is_online_through(GATEWAY, SUB)


def test_end_of_the_gateway_takes_its_sub_devices_offline() -> None:
    """With its connection, and only what is online through it."""
    gateways = Gateways()
    gateways.presence.connect(GATEWAY)
    for sub_device in (SUB, SECOND):
        gateways.login(sub_device)
    gateways.login(THIRD, NEIGHBOUR)
    assert gateways.presence.is_online(SUB)
    assert gateways.presence.disconnect(GATEWAY) == {SUB, SECOND}
    assert not gateways.presence.is_online(SUB)
    assert gateways.presence.is_online(THIRD)


def test_gateway_may_have_so_many_online() -> None:
    """One more is answered 429; one that is online may log in again, and a logout makes room."""
    gateways = Gateways(sub_devices_per_gateway=2)
    assert told(gateways.login(SUB)) == (200, "")
    assert told(gateways.login(SECOND)) == (200, "")
    what = "EbxGvUrE/gw-1 has 2 sub-devices online, more are not allowed"
    assert told(gateways.login(THIRD)) == (429, what)
    assert not gateways.presence.is_online(THIRD)
    assert told(gateways.login(SUB)) == (200, "")
    assert told(gateways.login(THIRD, NEIGHBOUR)) == (200, "")
    gateways.logout(SECOND)
    assert told(gateways.login(THIRD)) == (200, "")


def test_checks_come_in_order() -> None:
    """Unknown, foreign, disabled, mode, signature, number: the first that fails answers."""
    gateways = Gateways(sub_devices_per_gateway=0)
    wrong: dict[str, Any] = {"sign": "00", "secureMode": "3"}
    assert told(gateways.login(DeviceId("Sb7PkXyZ", "nobody"), **wrong))[0] == 705
    assert told(gateways.login(FOREIGN, **wrong))[0] == 740
    assert told(gateways.login(DISABLED, **wrong))[0] == 723
    assert told(gateways.login(SUB, **wrong))[0] == 770
    assert told(gateways.login(SUB, sign="00"))[0] == 742
    assert told(gateways.login(SUB))[0] == 429


def test_first_login_activates_once() -> None:
    """The reply waits for that to be stored; later logins store nothing."""
    gateways = Gateways()
    first = gateways.login()
    assert first.record is not None
    assert (first.record.activated, first.record.time, first.record.points) == ((SUB,), RECEIVED, [])
    gateways.logout()
    assert gateways.login().record is None
    assert gateways.login(gateway=NEIGHBOUR).record is None


def test_device_that_was_activated_before_is_not_again() -> None:
    """The registry remembers it from an earlier run."""
    outcome = Gateways().login(OLD)
    assert told(outcome) == (200, "")
    assert outcome.record is None
