"""Changes over the wire, made on a directory: what differs, what is shared, what is left out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from enos_ingest.devices.changes import (
    Change,
    DevicesRegistered,
    SecretMade,
    TagsSet,
    TopologyAdded,
    TopologyRemoved,
)
from enos_ingest.devices.directory import Device, Directory, Product
from enos_ingest.protocol.identity import DeviceId

GATEWAY, OTHER, SUB, FREE, NEW = (DeviceId("P", key) for key in ("gw", "gw-2", "sub", "free", "new"))
NOBODY = DeviceId("P", "nobody")


def directory() -> Directory:
    """Two gateways, one with a sub-device; a device that has no secret yet."""
    devices = [Device(each, "" if each == FREE else "s", each.device_key) for each in (GATEWAY, OTHER, SUB, FREE)]
    return Directory([Product("P")], devices, [(GATEWAY, SUB)])


@pytest.mark.parametrize(
    "change",
    [
        TopologyAdded(GATEWAY, (SUB,), 1),
        TopologyAdded(GATEWAY, (), 1),
        TopologyAdded(GATEWAY, (FREE, NOBODY), 1),
        TopologyAdded(NOBODY, (FREE,), 1),
        TopologyAdded(GATEWAY, (GATEWAY,), 1),
        TopologyAdded(SUB, (FREE,), 1),
        TopologyAdded(OTHER, (GATEWAY,), 1),
        TopologyRemoved(GATEWAY, (FREE,), 1),
        TopologyRemoved(OTHER, (SUB,), 1),
        DevicesRegistered(GATEWAY, (Device(NEW), Device(SUB)), 1),
        DevicesRegistered(GATEWAY, (Device(DeviceId("Q", "d")),), 1),
        DevicesRegistered(GATEWAY, (Device(NEW, asset_id="sub"),), 1),
        SecretMade(SUB, "s", 1),
        SecretMade(SUB, "t", 1),
        SecretMade(NOBODY, "t", 1),
        TagsSet(SUB, {"a": "b"}, 1),
    ],
    ids=repr,
)
def test_what_changes_nothing_leaves_the_directory_as_it_is(change: Change) -> None:
    """The same again, what its rows do not bear, and what is no change of the registry."""
    before = directory()
    assert before.changed([change]) is before


def test_what_does_not_differ_is_shared() -> None:
    """A change of topology copies no device, and one of devices no topology; the directory before it stays."""
    before = directory()
    linked = before.changed([TopologyAdded(OTHER, (FREE,), 1)])
    assert linked.devices is before.devices
    assert before.sub_devices(OTHER) == frozenset()
    assert linked.sub_devices(OTHER) == {FREE}
    assert linked.gateways(FREE) == {OTHER}
    made = before.changed([SecretMade(FREE, "t", 1)])
    assert made.sub_devices(GATEWAY) is before.sub_devices(GATEWAY)
    assert made.devices == {**before.devices, FREE: replace(before.devices[FREE], secret="t")}
    assert before.devices[FREE].secret == ""


def test_registered_devices_are_the_wires_and_are_found() -> None:
    """By their keys and by their asset id; they count."""
    before = directory()
    assert before.count_devices("P") == 4
    after = before.changed([DevicesRegistered(GATEWAY, (Device(NEW, "s", "asset"),), 1)])
    assert after.devices[NEW] == Device(NEW, "s", "asset", origin="wire")
    assert after.find_by_asset_id("asset") == NEW
    assert (after.count_devices("P"), after.count_devices("Q"), before.count_devices("P")) == (5, 0, 4)


def test_changes_are_made_one_after_the_other() -> None:
    """Each on top of those before it."""
    after = directory().changed(
        [
            TopologyRemoved(GATEWAY, (SUB,), 7),
            TopologyAdded(OTHER, (SUB, GATEWAY), 8),
            TopologyRemoved(OTHER, (SUB,), 9),
        ]
    )
    assert after.topology == {OTHER: {GATEWAY}}
    assert after.gateways(GATEWAY) == {OTHER}
    assert after.gateways(SUB) == frozenset()
    assert after.wired == {(OTHER, GATEWAY)}
    assert after.released == {(GATEWAY, SUB): 7}
    again = after.changed([TopologyRemoved(OTHER, (GATEWAY,), 10), TopologyAdded(GATEWAY, (SUB,), 11)])
    assert again.released == {}
    assert again.wired == frozenset()
