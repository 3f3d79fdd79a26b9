"""The registry in memory: lookups, topology, asset ids."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enos_ingest.devices.directory import Application, Device, Directory, Product, derive_asset_id
from enos_ingest.devices.passwords import hash_api_key
from enos_ingest.protocol.identity import DeviceId

GW1, GW2, SUB1, SUB2, ALONE = (DeviceId("P", key) for key in ("gw1", "gw2", "sub1", "sub2", "alone"))


@pytest.fixture
def directory() -> Directory:
    """Two gateways that share a sub-device, and a device that connects by itself."""
    return Directory(
        products=[Product("P")],
        devices=[Device(key) for key in (GW1, GW2, SUB1, SUB2, ALONE)],
        topology=[(GW1, SUB1), (GW1, SUB2), (GW2, SUB2)],
    )


def test_topology_is_seen_from_both_ends(directory: Directory) -> None:
    """A sub-device may belong to several gateways."""
    assert directory.sub_devices(GW1) == {SUB1, SUB2}
    assert directory.gateways(SUB2) == {GW1, GW2}
    assert directory.topology == {GW1: {SUB1, SUB2}, GW2: {SUB2}}
    for device in (ALONE, DeviceId("P", "unknown")):
        assert directory.sub_devices(device) == directory.gateways(device) == frozenset()


def test_a_device_represents_itself_and_a_gateway_its_sub_devices(directory: Directory) -> None:
    """And nobody else; not the other way round."""
    represented = {
        (speaker.device_key, device.device_key)
        for speaker in directory.devices
        for device in directory.devices
        if directory.may_represent(speaker, device)
    }
    assert represented == {
        *((device.device_key, device.device_key) for device in directory.devices),
        ("gw1", "sub1"),
        ("gw1", "sub2"),
        ("gw2", "sub2"),
    }


@pytest.mark.parametrize("table", ["products", "devices", "topology", "applications", "operators"])
def test_a_directory_cannot_be_changed(directory: Directory, table: str) -> None:
    """It is handed to many; a change makes a new one."""
    rows: Any = getattr(directory, table)
    with pytest.raises(TypeError):
        rows["x"] = None


def test_applications_are_found_by_what_they_call_with() -> None:
    """By their key, and by their API key, of which the directory has the hash; not by the lack of either."""
    scada = Application("scada", "k1", "s1", hash_api_key("a1"))
    only_key, only_api_key = Application("x", "k2", "s2"), Application("y", api_key_hash=hash_api_key("a2"))
    directory = Directory(applications=[scada, only_key, only_api_key])
    assert [directory.find_by_key(key) for key in ("k1", "k2", "k3", "")] == [scada, only_key, None, None]
    found = [directory.find_by_api_key(key) for key in ("a1", "a2", "a3", "", scada.api_key_hash)]
    assert found == [scada, only_api_key, None, None, None]


def test_the_first_of_two_applications_with_one_key_has_it() -> None:
    """No registry file may declare that any more; an old database may hold it."""
    first, second = (Application(name, "k", "s", hash_api_key("a")) for name in "ab")
    directory = Directory(applications=[first, second])
    assert directory.find_by_key("k") == directory.find_by_api_key("a") == first


def test_a_derived_asset_id_is_stable() -> None:
    """It is part of what devices were told: it must not change with a release."""
    assert derive_asset_id(DeviceId("EbxGvUrE", "gw-1")) == "w4bj5xqqw3sg"


_texts = st.text(st.characters(exclude_categories=["Cs"]))


@given(_texts, _texts, _texts, _texts)
def test_derived_asset_ids_tell_devices_apart(product: str, key: str, other_product: str, other_key: str) -> None:
    """12 lower-case letters and digits, another for other keys."""
    device, other = DeviceId(product, key), DeviceId(other_product, other_key)
    asset_id = derive_asset_id(device)
    assert re.fullmatch("[a-z2-7]{12}", asset_id)
    assert "\n" in product + other_product or (asset_id == derive_asset_id(other)) == (device == other)
