"""Logins in batch: what each SDK sends, every fault of an entry and of the whole, who is online afterwards."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enos_ingest.outcome import Outcome
from enos_ingest.protocol.credentials import sign
from enos_ingest.protocol.identity import Channel, DeviceId, Publisher
from enos_ingest.storage.registry import open_registry
from enos_ingest.testing.hub import run_hub
from tests.cases.world import GATEWAY as HUB_GATEWAY
from tests.cases.world import MODELS, NEIGHBOUR, REGISTRY, SHARED, SUB_1, SUB_2, identity, secret_of
from tests.uplinks.gateways import (
    DISABLED,
    FOREIGN,
    GATEWAY,
    OLD,
    RECEIVED,
    SECOND,
    SECRET,
    SUB,
    THIRD,
    Gateways,
)
from tests.uplinks.gateways import (
    NEIGHBOUR as OTHER,
)

NOBODY = DeviceId("Sb7PkXyZ", "nobody")


def entry(device: DeviceId = SUB, client_id: str = "c", timestamp: str = "1", **changes: Any) -> dict[str, Any]:
    """An entry that is granted, unless `changes` say otherwise."""
    content = f"clientId{client_id}deviceKey{device.device_key}productKey{device.product_key}timestamp{timestamp}"
    signature = sign(SECRET, content)
    return {"productKey": device.product_key, "deviceKey": device.device_key, "sign": signature, **changes}


def batch(*entries: Any, **changes: Any) -> dict[str, Any]:
    """A request with these entries; `changes` replace its params."""
    params = {"clientId": "c", "timestamp": "1", "signMethod": "sha256", "subDevices": list(entries), **changes}
    return {"id": "7", "version": "1.1", "method": "combine.login.batch", "params": params}


def send(gateways: Gateways, request: Any, gateway: Publisher = GATEWAY, owner: DeviceId = GATEWAY) -> Outcome:
    """Publish a batch of logins."""
    payload = request if isinstance(request, bytes) else orjson.dumps(request)
    return gateways.send("login/batch", payload, gateway, owner)


def data(outcome: Outcome) -> tuple[list[DeviceId], list[DeviceId]]:
    """Who was logged in and who was not, once it is clear that each is described as the SDKs want it."""
    found = orjson.loads(outcome.reply)["data"]
    assert list(found) == ["loginedSubDevices", "failedSubDevices"]
    for each in found["loginedSubDevices"]:
        assert list(each) == ["productKey", "deviceKey", "assetId"]
        assert isinstance(each["assetId"], str)
    for each in found["failedSubDevices"]:
        assert list(each) == ["productKey", "deviceKey"]
    first, second = (
        [DeviceId(each["productKey"], each["deviceKey"]) for each in devices] for devices in found.values()
    )
    return first, second


PYTHON = batch(
    {
        "productKey": "Sb7PkXyZ",
        "deviceKey": "sub001",
        "secureMode": "2",
        "sign": "b636fb5ec9de9780cb6b4a356f676c34142db72ce1e59671dbcfaab225e757f0",
    },
    clientId="login.batch",
    timestamp="1795221825.5055053",
    signMethod="hmacsha256",
)
NODE = batch(
    {
        "sign": "52DBE131564B2F9800E7C9EFE519933C2F41296B9E88DE54ADF0795045FD9518",
        "secureMode": 2,
        "productKey": "Sb7PkXyZ",
        "deviceKey": "sub001",
    },
    clientId="EbxGvUrE",
    timestamp="1795221828598",
)
JAVA = batch(
    entry(SUB, "login.batch", "1795221829607", secureMode="2", cleanSession="true"),
    clientId="login.batch",
    timestamp="1795221829607",
)
C = batch(
    {**entry(SUB, "EbxGvUrE", "2524608000000"), "sign": entry(SUB, "EbxGvUrE", "2524608000000")["sign"].upper()},
    clientId="EbxGvUrE",
    timestamp="2524608000000",
    signMethod="Sha256",
)


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(PYTHON, id="Python, captured"),
        pytest.param(NODE, id="Node.js, captured"),
        pytest.param(batch(entry(SUB, "c", "1795221828598"), timestamp=1795221828598), id="number as timestamp"),
        pytest.param(JAVA, id="Java"),
        pytest.param(C, id="C"),
        pytest.param(batch(entry(), signMethod=None, signmethod="SHA256"), id="method as the documents spell it"),
        pytest.param(batch(entry(secureMode=None), signMethod=None), id="no method named, mode null"),
        pytest.param({**batch(entry()), "version": None}, id="no version"),
    ],
)
def test_batch_of_each_sdk(request_: dict[str, Any]) -> None:
    """One sub-device each, signed over the client id and the timestamp of the batch."""
    gateways = Gateways()
    outcome = send(gateways, request_)
    assert orjson.loads(outcome.reply) == {
        "id": "7",
        "code": 200,
        "data": {
            "loginedSubDevices": [{"productKey": "Sb7PkXyZ", "deviceKey": "sub001", "assetId": "asset-sub001"}],
            "failedSubDevices": [],
        },
    }
    assert gateways.presence.is_online_through(GATEWAY, SUB)


def test_the_documents_own_partial_failure() -> None:
    """Code, message and lists are as their sample has them, for a disabled sub-device behind two others."""
    gateways = Gateways()
    outcome = send(gateways, batch(entry(SUB), entry(DISABLED), entry(SECOND)))
    reply = orjson.loads(outcome.reply)
    assert (reply["code"], reply["message"]) == (723, "Sb7PkXyZ&disabled has error: Device is disable;")
    assert data(outcome) == ([SUB, SECOND], [DISABLED])
    assert gateways.presence.sub_devices(GATEWAY) == {SUB, SECOND}


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (entry(NOBODY), "nobody has error: Device not existed (705)"),
        (entry(DISABLED), "disabled has error: Device is disable"),
        (entry(FOREIGN), "foreign has error: Sub device not belong the gateway (740)"),
        (entry(SECOND, sign="00"), "sub002 has error: Sign check failed (742)"),
        (entry(SECOND, "other"), "sub002 has error: Sign check failed (742)"),
        (entry(SECOND, timestamp="2"), "sub002 has error: Sign check failed (742)"),
        (entry(SECOND, secureMode="3"), "sub002 has error: Dynamic activate is not allowed (770)"),
        (entry(SECOND, secureMode=4), "sub002 has error: Dynamic activate is not allowed (770)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_entry_fails_alone(bad: dict[str, Any], error: str, place: int) -> None:
    """Wherever it stands, the others are online; the reply is kept in quarantine as it was given."""
    gateways = Gateways()
    entries = [entry(SUB), entry(THIRD)]
    entries.insert(place, bad)
    outcome = send(gateways, batch(*entries))
    assert (outcome.code, outcome.reason) == (723, f"Sb7PkXyZ&{error};")
    assert orjson.loads(outcome.reply)["message"] == outcome.reason
    assert data(outcome) == ([SUB, THIRD], [DeviceId(bad["productKey"], bad["deviceKey"])])
    assert gateways.presence.sub_devices(GATEWAY) == {SUB, THIRD}
    assert outcome.record is not None
    assert outcome.record.rejection is not None
    assert (outcome.record.rejection.code, outcome.record.rejection.reason) == (723, outcome.reason)
    assert outcome.record.activated == (SUB, THIRD)


def test_all_entries_may_fail() -> None:
    """The first list is empty then, the second is not: an empty pair means that the request was none."""
    outcome = send(Gateways(), batch(entry(NOBODY), entry(FOREIGN)))
    assert data(outcome) == ([], [NOBODY, FOREIGN])
    assert outcome.reason == (
        "Sb7PkXyZ&nobody has error: Device not existed (705);"
        "Sb7PkXyZ&foreign has error: Sub device not belong the gateway (740);"
    )


def test_many_faults_are_not_all_in_the_message() -> None:
    """It is cut as all messages are; the list names every one."""
    many = [DeviceId("Sb7PkXyZ", f"nobody{index}") for index in range(50)]
    outcome = send(Gateways(), batch(*map(entry, many)))
    assert len(outcome.reason) == 300
    assert data(outcome) == ([], many)


@pytest.mark.parametrize(
    ("request_", "code", "message"),
    [
        (b"", 1251, "payload is empty"),
        (b"{", 1220, "payload is not JSON"),
        (b"[]", 1220, "payload is not a JSON object"),
        ({**batch(entry()), "method": "combine.login"}, 1260, 'method: expected "combine.login.batch"'),
        (batch(), 1220, "params.subDevices: at least 1 item"),
        (batch(entry(), subDevices={}), 1220, "params.subDevices: expected an array"),
        (batch(1), 1220, "params.subDevices[0]: expected an object"),
        (batch(entry(), entry(sign=None)), 1220, "params.subDevices[1].sign: expected a string"),
        (batch(entry(), entry(deviceKey="")), 1220, "params.subDevices[1].deviceKey: at least 1 character"),
        (batch(entry(productKey=7)), 1220, "params.subDevices[0].productKey: expected a string"),
        (batch(entry(), clientId=None), 1220, "params.clientId: expected a string"),
        (batch(entry(), timestamp=None), 1220, "params.timestamp: expected a string or a number"),
        (batch(entry(), timestamp=True), 1220, "params.timestamp: expected a string or a number"),
        ({"id": "7", "method": "combine.login.batch"}, 1220, "params: missing"),
    ],
    ids=str,
)
def test_what_is_no_batch_logs_nobody_in(request_: Any, code: int, message: str) -> None:
    """Both lists are there, and empty: that is how the Java SDK tells it from a failure of the entries."""
    gateways = Gateways()
    outcome = send(gateways, request_)
    assert outcome.code == code
    assert outcome.reason.startswith(message)
    assert data(outcome) == ([], [])
    assert gateways.presence.sub_devices(GATEWAY) == frozenset()


@pytest.mark.parametrize("sender", [OTHER, SUB, Channel("EbxGvUrE")], ids=str)
def test_the_session_topics_are_nobody_elses(sender: Publisher) -> None:
    """As for a login alone, with both lists."""
    gateways = Gateways()
    outcome = send(gateways, batch(entry()), sender)
    assert outcome.code == 1009
    assert data(outcome) == ([], [])
    assert not gateways.presence.is_online(SUB)


def test_the_number_online_is_counted_entry_by_entry() -> None:
    """Those that are online already may log in again, the first of the others too; the rest are told 429."""
    gateways = Gateways(sub_devices_per_gateway=2)
    gateways.login(SECOND)
    outcome = send(gateways, batch(entry(SUB), entry(THIRD), entry(SECOND), entry(OLD)))
    assert data(outcome) == ([SUB, SECOND], [THIRD, OLD])
    assert outcome.reason == (
        "Sb7PkXyZ&sub003 has error: Too many requests (429);"
        "Sb7PkXyZ&activated before has error: Too many requests (429);"
    )
    assert gateways.presence.sub_devices(GATEWAY) == {SUB, SECOND}


def test_a_sub_device_listed_twice_is_answered_twice() -> None:
    """Each entry has its place in the answer; one that fails takes nobody offline, whichever comes first."""
    gateways = Gateways(sub_devices_per_gateway=1)
    outcome = send(gateways, batch(entry(), entry()))
    assert (outcome.code, data(outcome)) == (200, ([SUB, SUB], []))
    assert outcome.record is not None
    assert outcome.record.activated == (SUB,)
    for entries in ([entry(), entry(sign="00")], [entry(sign="00"), entry()]):
        outcome = send(gateways, batch(*entries))
        assert (outcome.code, data(outcome)) == (723, ([SUB], [SUB]))
        assert gateways.presence.is_online_through(GATEWAY, SUB)


def test_newest_login_wins() -> None:
    """Sub-devices that another gateway logged in are taken over, one by one."""
    gateways = Gateways()
    send(gateways, batch(entry(SUB), entry(SECOND)))
    outcome = send(gateways, batch(entry(SECOND), entry(THIRD), entry(SUB, sign="00")), OTHER, OTHER)
    assert data(outcome) == ([SECOND, THIRD], [SUB])
    assert gateways.presence.sub_devices(GATEWAY) == {SUB}
    assert gateways.presence.sub_devices(OTHER) == {SECOND, THIRD}


def test_first_logins_activate_once() -> None:
    """All of a batch are stored with its message; later ones store nothing."""
    gateways = Gateways()
    gateways.login(THIRD)
    outcome = send(gateways, batch(entry(SUB), entry(OLD), entry(THIRD), entry(SECOND)))
    assert outcome.record is not None
    assert (outcome.record.activated, outcome.record.time) == ((SUB, SECOND), RECEIVED)
    assert outcome.record.rejection is None
    assert send(gateways, batch(entry(SUB), entry(SECOND))).record is None


ENTRIES = st.tuples(st.sampled_from([SUB, SECOND, THIRD, OLD, DISABLED, FOREIGN, NOBODY]), st.sampled_from(["", "00"]))


@given(st.lists(ENTRIES, min_size=1, max_size=8), st.integers(0, 4))
def test_a_batch_does_what_its_entries_would_alone(entries: list[tuple[DeviceId, str]], limit: int) -> None:
    """The same devices are online, the same are refused, with the same codes."""
    together, alone = Gateways(limit), Gateways(limit)
    request = batch(*(entry(device, sign=bad) if bad else entry(device) for device, bad in entries))
    outcome = send(together, request)
    codes = [(alone.login(device, GATEWAY, sign=bad) if bad else alone.login(device)).code for device, bad in entries]
    granted = [device for (device, _), code in zip(entries, codes, strict=True) if code == 200]
    refused = [device for (device, _), code in zip(entries, codes, strict=True) if code != 200]
    assert data(outcome) == (granted, refused)
    assert outcome.code == (723 if refused else 200)
    assert together.presence.sub_devices(GATEWAY) == alone.presence.sub_devices(GATEWAY)


def test_a_batch_over_mqtt_is_stored_and_brings_its_devices_online() -> None:
    """They may report then; each is activated in the registry; another gateway takes one of them over."""
    with (
        run_hub(registry=REGISTRY, models=MODELS) as hub,
        hub.connect(HUB_GATEWAY) as gateway,
        hub.connect(NEIGHBOUR) as neighbour,
    ):
        secrets = {name: secret_of(name) for name in (SUB_1, SUB_2, SHARED)}
        reply = gateway.login_batch({**secrets, SUB_2: "wrong"})
        product, _, key = SUB_2.partition("/")
        assert (reply["code"], reply["message"]) == (723, f"{product}&{key} has error: Sign check failed (742);")
        assert [each["deviceKey"] for each in reply["data"]["loginedSubDevices"]] == ["sub-1", "shared"]
        assert [each["deviceKey"] for each in reply["data"]["failedSubDevices"]] == ["sub-2"]
        with open_registry(hub.database, read_only=True) as registry:
            found = registry.directory().devices
        activated = [name for name in secrets if found[identity(name)].activated]  # type: ignore[index]
        assert activated == [SUB_1, SHARED]
        assert gateway.post_batch([_report(SUB_1), _report(SHARED)])["code"] == 200
        assert neighbour.login_batch({SHARED: secret_of(SHARED)})["code"] == 200
        assert gateway.post_batch([_report(SHARED)])["code"] == 1212
        assert neighbour.post_batch([_report(SHARED)])["code"] == 200


def test_an_operator_logs_in_by_the_batch_as_the_gateway_would() -> None:
    """The same reply; the gateway's own connection reports for them then."""
    with (
        run_hub(registry=REGISTRY, models=MODELS, settings={"security.anonymous": True}) as hub,
        hub.connect_operator() as operator,
        hub.connect(HUB_GATEWAY) as gateway,
    ):
        entries = []
        for name, secret in ((SUB_1, secret_of(SUB_1)), (SUB_2, "wrong")):
            product, _, key = name.partition("/")
            signature = sign(secret, f"clientIdcdeviceKey{key}productKey{product}timestamp1")
            entries.append({"productKey": product, "deviceKey": key, "sign": signature})
        reply = operator.request(f"/ext/session/{HUB_GATEWAY}/combine/login/batch", batch(*entries))
        assert (reply["id"], reply["code"]) == ("7", 723)
        assert [each["deviceKey"] for each in reply["data"]["loginedSubDevices"]] == ["sub-1"]
        assert [each["deviceKey"] for each in reply["data"]["failedSubDevices"]] == ["sub-2"]
        assert gateway.post_batch([_report(SUB_1)])["code"] == 200
        assert gateway.post_batch([_report(SUB_2)])["code"] == 1212


def _report(device: str) -> dict[str, Any]:
    product, _, key = device.partition("/")
    return {"productKey": product, "deviceKey": key, "measurepoints": {"energy": 1.5}}


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        pytest.param(batch(entry(), clientId="c" * 1025), "params.clientId", id="client id"),
        pytest.param(batch(entry(), timestamp="1" * 65), "params.timestamp", id="timestamp"),
        pytest.param(batch(entry(), signMethod="s" * 65), "params.signMethod", id="method"),
        pytest.param(batch(entry(), signmethod="s" * 65), "params.signmethod", id="method as the documents spell it"),
        pytest.param(batch(*[entry()] * 1001), "params.subDevices", id="entries"),
    ],
)
def test_what_is_hashed_for_each_entry_is_bounded(request_: dict[str, Any], reason: str) -> None:
    """A message of 512 KB would hold the hub up for seconds: a long client id, hashed for each of thousands."""
    gateways = Gateways()
    outcome = send(gateways, request_)
    assert outcome.code == 1220
    assert outcome.reason.startswith(reason)
    assert not gateways.presence.is_online_through(GATEWAY, SUB)


def test_what_is_hashed_for_each_entry_may_be_as_long_as_the_bound() -> None:
    """A thousand entries, a client id of 1024 characters."""
    client_id, timestamp = "c" * 1024, "1" * 64
    granted = entry(SUB, client_id, timestamp)
    outcome = send(Gateways(), batch(*[granted] * 1000, clientId=client_id, timestamp=timestamp))
    assert (outcome.code, len(data(outcome)[0])) == (200, 1000)
