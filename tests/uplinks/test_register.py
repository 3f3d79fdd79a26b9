"""`device/register`: every code, what the reply tells, and what is stored."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from enos_ingest.devices.changes import DevicesRegistered
from enos_ingest.devices.directory import Device, Directory, derive_asset_id
from enos_ingest.outcome import Outcome
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.uplinks import register
from tests.uplinks.fleet import GATEWAY, GATEWAYS, NEIGHBOUR, RECEIVED, SUB, SUBS, Fleet
from tests.uplinks.gateways import told

REGISTER = "device/register"
NEW = DeviceId(SUBS, "new-1")


def item(key: str | None = "new-1", **more: Any) -> dict[str, Any]:
    """A device as a request asks for it; without a key for None."""
    return {"productKey": SUBS, **({} if key is None else {"deviceKey": key}), **more}


def registered(outcome: Outcome) -> list[Device]:
    """The devices that a request has made; the reply tells the same of them."""
    assert told(outcome) == (200, "")
    assert outcome.record is not None
    (change,) = outcome.record.changes
    assert isinstance(change, DevicesRegistered)
    assert (change.gateway, change.time) == (GATEWAY, RECEIVED)
    assert orjson.loads(outcome.reply)["data"] == [
        {
            "assetId": row.asset_id,
            "productKey": row.id.product_key,
            "deviceKey": row.id.device_key,
            "deviceSecret": row.secret,
        }
        for row in change.devices
    ]
    return list(change.devices)


NAME = {"defaultValue": "Inverter", "i18nValue": {"zh_CN": "逆变器"}}
SAID: dict[str, Any] = {"deviceName": NAME, "timezone": "+08:00"}


@pytest.mark.parametrize(
    ("more", "name", "timezone"),
    [
        pytest.param({}, "", "", id="C"),
        pytest.param({"deviceName": NAME, "timezone": "+08:00", "deviceDesc": "x"}, NAME, "+08:00", id="Java, Python"),
        pytest.param({"timezone": "Asia/Shanghai"}, "", "Asia/Shanghai", id="a zone by its name"),
        pytest.param({"deviceName": "plain", "timezone": "-03:30"}, "plain", "-03:30", id="oldest documents"),
        pytest.param({"deviceName": {"defaultValue": "x", "more": 1}}, {"defaultValue": "x"}, "", id="one language"),
        pytest.param({"deviceName": {}, "timezone": "", "deviceAttributes": {"a": 1}}, {}, "", id="nothing said"),
        pytest.param({"deviceName": None, "timezone": None}, "", "", id="nulls"),
    ],
)
def test_a_device_is_registered_with_what_is_said_of_it(more: dict[str, Any], name: Any, timezone: str) -> None:
    """It holds for the next message."""
    fleet = Fleet()
    (row,) = registered(fleet.ask(REGISTER, [item(**more)]))
    assert (row.id, row.asset_id, row.origin) == (NEW, derive_asset_id(NEW), "wire")
    assert (orjson.loads(row.name) if row.name else name if not name else None, row.timezone) == (name, timezone)
    assert len(row.secret) == 32
    assert fleet.directory.devices[NEW] == row


@pytest.mark.parametrize("key", [None, ""])
def test_a_key_that_is_left_out_is_made(key: str | None) -> None:
    """Ten letters and digits, none twice; each device has a secret of its own."""
    fleet = Fleet()
    rows = registered(fleet.ask(REGISTER, [item(key) for _ in range(1000)]))
    assert (
        len({row.id for row in rows})
        == len({row.secret for row in rows})
        == len({row.asset_id for row in rows})
        == 1000
    )
    assert all(len(row.id.device_key) == 10 and row.id.device_key.isalnum() for row in rows)


def test_a_made_key_is_nobodys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a registered device's, nor one's in the same request, wherever it stands there."""
    letters = iter("aaaaaaaaaabbbbbbbbbbccccccccccccccccccccdddddddddd")
    monkeypatch.setattr("secrets.choice", lambda _: next(letters))
    fleet = Fleet()
    registered(fleet.ask(REGISTER, [item("a" * 10)]))
    rows = registered(fleet.ask(REGISTER, [item(None), item(None), item("b" * 10)]))
    assert [row.id.device_key for row in rows] == ["c" * 10, "d" * 10, "b" * 10]


NO_KEY = "params[1].deviceKey: expected a key: 1 to 64 characters without blanks, /, +, #, &, |, % or $"


@pytest.mark.parametrize(
    ("wanted", "code", "message"),
    [
        (item("sub001"), 702, f"already registered: {SUB}"),
        (item("good"), 1200, f"params[1].deviceKey: {SUBS}/good stands twice"),
        (item("integration"), 1200, "params[1].deviceKey: integration is reserved"),
        (item(productKey="nope"), 1200, "params[1].productKey: unknown product nope"),
        (
            item("a/b"),
            1220,
            NO_KEY,
        ),
        (
            item("%channel%"),
            1220,
            NO_KEY,
        ),
        (
            item("x" * 65),
            1220,
            NO_KEY,
        ),
        (
            item("\n"),
            1220,
            NO_KEY,
        ),
        (
            item(timezone="8"),
            1220,
            "params[1].timezone: expected an offset such as +08:00, or a name such as Asia/Shanghai",
        ),
        (item(deviceName="x" * 257), 1220, "params[1].deviceName: at most 256 characters"),
        (item(deviceName=1), 1220, "params[1].deviceName: expected a string or an object"),
        ({"deviceKey": "x"}, 1220, "params[1].productKey: missing"),
    ],
)
def test_one_fault_keeps_all_devices_out(wanted: dict[str, Any], code: int, message: str) -> None:
    """Also those that stand before it."""
    fleet = Fleet()
    before = fleet.directory
    assert told(fleet.ask(REGISTER, [item("good"), wanted])) == (code, message)
    assert fleet.directory is before


def test_a_device_is_registered_once() -> None:
    """Another request that names it is refused whole, and tells no secret."""
    fleet = Fleet()
    registered(fleet.ask(REGISTER, [item("a"), item("b")]))
    assert told(fleet.ask(REGISTER, [item("a"), item("c"), item("b")])) == (
        702,
        f"already registered: {SUBS}/a, {SUBS}/b",
    )
    assert told(fleet.ask(REGISTER, [item("a"), item(None)])) == (702, f"already registered: {SUBS}/a")


@pytest.mark.parametrize("wanted", [["a", "b"], ["b", "a"], ["b"]])
def test_who_has_not_got_the_answer_asks_again(wanted: list[str]) -> None:
    """And is told the same, which is stored before that where it was not; nothing is changed."""
    fleet = Fleet()
    first = {row.id.device_key: row for row in registered(fleet.ask(REGISTER, [item(key, **SAID) for key in "ab"]))}
    before = fleet.directory
    assert registered(fleet.ask(REGISTER, [item(key, **SAID) for key in wanted])) == [first[key] for key in wanted]
    assert fleet.directory is before


@pytest.mark.parametrize("way", ["another gateway", "another name", "another zone", "it has come", "it is the file's"])
def test_a_secret_is_told_again_to_nobody_else_and_for_nothing_else(way: str) -> None:
    """Nor once the device has come with it, or the registry file has given it one."""
    fleet = Fleet()
    (row,) = registered(fleet.ask(REGISTER, [item(**SAID)]))
    said, gateway = dict(SAID), GATEWAY
    match way:
        case "another gateway":
            gateway = NEIGHBOUR
        case "another name":
            said["deviceName"] = {"defaultValue": "Other"}
        case "another zone":
            said["timezone"] = "+09:00"
        case "it has come":
            assert fleet.presence.is_first_login(NEW)
        case _:
            fleet.directory = Directory(
                fleet.directory.products.values(), [Device(GATEWAY), replace(row, origin="file")]
            )
    assert told(fleet.ask(REGISTER, [item(**said)], gateway)) == (702, f"already registered: {NEW}")


def test_a_device_that_came_before_the_start_is_not_told_of_again() -> None:
    """Its first login is on disk."""
    fleet = Fleet()
    (row,) = registered(fleet.ask(REGISTER, [item()]))
    fleet.directory = Directory(fleet.directory.products.values(), [Device(GATEWAY), replace(row, activated=5)])
    assert told(fleet.ask(REGISTER, [item()]))[0] == 702


def test_a_thousand_devices_at_a_time() -> None:
    """One more is refused; none is granted, and changes nothing."""
    outcome = Fleet().ask(REGISTER, [item(f"d{number}") for number in range(1001)])
    assert told(outcome) == (1220, "params: at most 1000 items")
    assert Fleet().ask(REGISTER, []).record is None


def test_ten_thousand_devices_of_a_product(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that the registry file has declared count."""
    monkeypatch.setattr(register, "DEVICES_PER_PRODUCT", 6)
    fleet = Fleet()
    assert fleet.directory.count_devices(SUBS) == 4
    wanted = [item("a"), item("b"), item("c")]
    assert told(fleet.ask(REGISTER, wanted)) == (429, f"product {SUBS} would have more than 6 devices")
    registered(fleet.ask(REGISTER, wanted[:2]))
    assert told(fleet.ask(REGISTER, wanted[2:]))[0] == 429
    registered(fleet.ask(REGISTER, [{**item("a"), "productKey": GATEWAYS}]))


def test_a_product_that_does_not_say_so_registers_nobody() -> None:
    """It is the product of the one who asks that counts."""
    what = f"devices of product {SUBS} may not register others"
    assert told(Fleet().ask(REGISTER, [item()], SUB)) == (1009, what)


def test_an_asset_id_that_is_anothers_is_refused() -> None:
    """The registry file may have given it away."""
    fleet = Fleet()
    (row,) = registered(fleet.ask(REGISTER, [item()]))
    rows = [Device(GATEWAY), Device(SUB, asset_id=row.asset_id)]
    fleet.directory = Directory(fleet.directory.products.values(), rows)
    assert told(fleet.ask(REGISTER, [item()])) == (1200, f"the asset id of {NEW} is {SUB}'s: give it another key")
