"""Applying a registry file: what is added, changed, kept and removed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from enos_ingest.devices.directory import Device, Directory, derive_asset_id
from enos_ingest.devices.passwords import hash_api_key, verify_password
from enos_ingest.protocol.identity import DeviceId
from tests.devices.registries import HASH, apply, documents

GATEWAY, FIRST, SECOND = DeviceId("EbxGvUrE", "gw-1"), DeviceId("Sb7PkXyZ", "sub001"), DeviceId("Sb7PkXyZ", "sub002")


def site() -> dict[str, Any]:
    """A registry with something in each table."""
    return {
        "products": [
            {"key": "EbxGvUrE", "secret": "ProdSecret", "model": "gateway"},
            {"key": "Sb7PkXyZ", "model": "inverter"},
        ],
        "devices": [
            {"product": "EbxGvUrE", "key": "gw-1", "secret": "GwSecret"},
            {"product": "Sb7PkXyZ", "key": "sub001", "secret": "SubSecret"},
            {"product": "Sb7PkXyZ", "key": "sub002", "secret": "SubSecret", "asset_id": "A2", "enabled": False},
        ],
        "gateways": [{"device": "EbxGvUrE/gw-1", "sub_devices": ["Sb7PkXyZ/sub001", "Sb7PkXyZ/sub002"]}],
        "applications": [
            {"name": "scada", "key": "AppKey", "secret": "AppSecret", "api_key": "ApiKey", "scopes": ["read"]}
        ],
        "operators": [{"name": "alice", "password": "PassWord", "scopes": ["read", "write"]}],
    }


def state(directory: Directory) -> tuple[dict[Any, Any], ...]:
    """All that a directory holds, to compare two."""
    return (
        dict(directory.products),
        dict(directory.devices),
        dict(directory.topology),
        dict(directory.applications),
        dict(directory.operators),
    )


def told(changes: list[Any]) -> list[str]:
    """The changes as they are printed."""
    return [str(change) for change in changes]


def test_a_first_apply_adds_every_row() -> None:
    """With defaults where the file says nothing."""
    directory, changes = apply(site())
    assert told(changes) == [
        "add    product EbxGvUrE",
        "add    product Sb7PkXyZ",
        "add    device EbxGvUrE/gw-1",
        "add    device Sb7PkXyZ/sub001",
        "add    device Sb7PkXyZ/sub002",
        "add    application scada",
        "add    operator alice",
        "add    sub-device Sb7PkXyZ/sub001 of EbxGvUrE/gw-1",
        "add    sub-device Sb7PkXyZ/sub002 of EbxGvUrE/gw-1",
    ]
    assert directory.devices[GATEWAY] == Device(GATEWAY, "GwSecret", derive_asset_id(GATEWAY), True, None)
    assert directory.devices[SECOND] == Device(SECOND, "SubSecret", "A2", False, None)
    assert directory.sub_devices(GATEWAY) == {FIRST, SECOND}
    assert directory.applications["scada"].api_key_hash == hash_api_key("ApiKey")
    assert verify_password("PassWord", directory.operators["alice"].password_hash)


def test_the_same_file_again_changes_nothing() -> None:
    """Passwords and API keys included, whose hashes are not made anew."""
    first, _ = apply(site())
    for prune in (False, True):
        second, changes = apply(site(), first, prune=prune)
        assert changes == []
        assert state(second) == state(first)


def test_a_change_names_its_fields_and_no_secret() -> None:
    """Whoever reads the log must not learn a secret from it."""
    first, _ = apply(site())
    changed = site()
    changed["products"][0].update(secret="New1", dynamic_activation=True)
    changed["devices"][0].update(secret="New2", enabled=False)
    changed["devices"][1]["asset_id"] = "A1"
    changed["applications"][0].update(secret="New3", api_key="New4", scopes=["admin"])
    changed["operators"][0].update(password="New5")
    _, changes = apply(changed, first)
    assert told(changes) == [
        "change product EbxGvUrE (secret, dynamic_activation = true)",
        "change device EbxGvUrE/gw-1 (secret, enabled = false)",
        "change device Sb7PkXyZ/sub001 (asset_id)",
        "change application scada (secret, api_key, scopes)",
        "change operator alice (password)",
    ]
    secrets = ("New", "Secret", "ApiKey", "PassWord", "scrypt")
    assert not any(secret in f"{change!s} {change!r}" for change in changes for secret in secrets)


def test_a_directory_never_shows_a_secret() -> None:
    """Its rows may stand in a log or a traceback."""
    directory, _ = apply(site())
    shown = repr(state(directory))
    assert not any(text in shown for text in ("ProdSecret", "GwSecret", "SubSecret", "AppSecret", "scrypt"))
    assert directory.applications["scada"].api_key_hash not in shown


def test_rows_that_the_file_does_not_name_stay() -> None:
    """A file may declare a part of the site; topology is added to."""
    first, _ = apply(site())
    part = {
        "devices": [{"product": "Sb7PkXyZ", "key": "sub003", "secret": "s"}],
        "gateways": [{"device": "EbxGvUrE/gw-1", "sub_devices": ["Sb7PkXyZ/sub003"]}],
    }
    second, changes = apply(part, first)
    assert told(changes) == ["add    device Sb7PkXyZ/sub003", "add    sub-device Sb7PkXyZ/sub003 of EbxGvUrE/gw-1"]
    assert second.sub_devices(GATEWAY) == {FIRST, SECOND, DeviceId("Sb7PkXyZ", "sub003")}
    assert state(apply({}, second)[0]) == state(second)


def test_prune_removes_what_the_file_does_not_name_and_lists_it() -> None:
    """With a product go its devices, with a device its place in the topology."""
    first, _ = apply(site())
    rest = site()
    del rest["devices"][2], rest["applications"][0], rest["operators"][0]
    rest["gateways"][0]["sub_devices"].pop()
    second, changes = apply(rest, first, prune=True)
    assert told(changes) == [
        "remove device Sb7PkXyZ/sub002",
        "remove application scada",
        "remove operator alice",
        "remove sub-device Sb7PkXyZ/sub002 of EbxGvUrE/gw-1",
    ]
    third, changes = apply({"products": rest["products"][1:]}, second, prune=True)
    assert told(changes) == [
        "remove product EbxGvUrE",
        "remove device EbxGvUrE/gw-1",
        "remove device Sb7PkXyZ/sub001",
        "remove sub-device Sb7PkXyZ/sub001 of EbxGvUrE/gw-1",
    ]
    assert list(third.products) == ["Sb7PkXyZ"]
    _, changes = apply({}, first, prune=True)
    assert {change.action for change in changes} == {"remove"}
    assert len(changes) == 9


def test_what_a_device_earned_is_kept() -> None:
    """The time of its activation, and a secret that dynamic activation made."""
    product = {"key": "P", "dynamic_activation": True}
    row = {"product": "P", "key": "d"}
    first, _ = apply({"products": [product], "devices": [row]})
    device = replace(first.devices[DeviceId("P", "d")], secret="made", activated=1700000000000)
    activated = Directory(first.products.values(), [device])
    second, changes = apply({"products": [product], "devices": [row]}, activated)
    assert changes == []
    assert second.devices[device.id] == device
    third, changes = apply({"products": [product], "devices": [{**row, "secret": "new"}]}, activated)
    assert told(changes) == ["change device P/d (secret)"]
    assert third.devices[device.id] == replace(device, secret="new")


def test_a_password_hash_is_taken_as_it_is() -> None:
    """An operator may be declared without the file holding a password."""
    operator = {"name": "o", "password_hash": HASH, "scopes": ["read"]}
    first, _ = apply({"operators": [operator]})
    assert first.operators["o"].password_hash == HASH
    assert apply({"operators": [operator]}, first)[1] == []
    # The same password in the clear is no change either.
    assert apply({"operators": [{"name": "o", "password": "known", "scopes": ["read"]}]}, first)[1] == []


def test_an_application_may_lose_its_api_key() -> None:
    """The file says all that there is of a row that it names."""
    row = {"name": "x", "key": "k", "secret": "s", "api_key": "a", "scopes": []}
    first, _ = apply({"applications": [row]})
    del row["api_key"]
    second, changes = apply({"applications": [row]}, first)
    assert told(changes) == ["change application x (api_key)"]
    assert second.applications["x"].api_key_hash == ""
    row["api_key"] = "b"
    third, changes = apply({"applications": [row]}, second)
    assert told(changes) == ["change application x (api_key)"]
    assert third.applications["x"].api_key_hash == hash_api_key("b")


@given(documents(), documents(), st.booleans())
def test_applying_twice_is_applying_once(before: dict[str, Any], document: dict[str, Any], prune: bool) -> None:
    """Whatever was declared before; and no row is left hanging on one that is gone."""
    current, _ = apply(before)
    first, changes = apply(document, current, prune=prune)
    second, again = apply(document, first, prune=prune)
    assert again == []
    assert state(second) == state(first)
    assert (changes == []) == (state(first) == state(current))
    assert {device.product_key for device in first.devices} <= first.products.keys()
    in_topology = set(first.topology).union(*first.topology.values())
    assert in_topology <= first.devices.keys()
    assert not set(first.topology) & set[DeviceId]().union(*first.topology.values())


@given(documents(), documents())
def test_prune_leaves_what_the_file_alone_would_make(before: dict[str, Any], document: dict[str, Any]) -> None:
    """Nothing of before remains but what devices earned."""
    assert state(apply(document, apply(before)[0], prune=True)[0]) == state(apply(document)[0])
