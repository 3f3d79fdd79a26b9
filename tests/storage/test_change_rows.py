"""What uplinks change besides points: stored with their message, read back, bounded."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from enos_ingest.devices.changes import (
    TAGS_PER_DEVICE,
    AttributesDeleted,
    AttributesSet,
    Change,
    DevicesRegistered,
    EventReported,
    FactsWanted,
    PresenceChanged,
    SecretMade,
    TagsDeleted,
    TagsSet,
    TopologyAdded,
    TopologyRemoved,
)
from enos_ingest.devices.directory import Device, Directory, Product
from enos_ingest.errors import StorageError
from enos_ingest.outcome import Record
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.storage.facts import Attribute, SqliteFacts, Tag
from enos_ingest.storage.registry import open_registry
from tests.storage.samples import commit, open_writer, point

GATEWAY, OTHER = DeviceId("P", "gw-1"), DeviceId("P", "gw-2")
SUB_1, SUB_2, SUB_3 = DeviceId("S", "sub-1"), DeviceId("S", "sub-2"), DeviceId("S", "sub-3")


def changed(*changes: Change, wanted: FactsWanted | None = None, serial: int = 0) -> Record:
    """A message that changes something and brings no points."""
    return Record([], changes=changes, wanted=wanted, serial=serial)


def declare(path: Path, *links: tuple[DeviceId, DeviceId]) -> None:
    """Put the sample devices into a database, with topology of the registry file."""
    devices = [Device(key, "s", key.device_key) for key in (GATEWAY, OTHER, SUB_1, SUB_2, SUB_3)]
    with open_registry(path) as registry:
        registry.apply(lambda _: Directory([Product("P"), Product("S")], devices, links))


def stored(path: Path) -> Directory:
    """The registry as the database has it."""
    with open_registry(path, read_only=True) as registry:
        return registry.directory()


def store(path: Path, *records: Record) -> list[StorageError | None]:
    """Hand records in at once, and return what became of each."""

    async def run() -> list[StorageError | BaseException | None]:
        async with open_writer(path) as writer:
            return await asyncio.gather(*(commit(writer, record) for record in records), return_exceptions=True)

    told = asyncio.run(run())
    assert all(each is None or isinstance(each, StorageError) for each in told)
    return told  # type: ignore[return-value]


def test_attributes_are_set_replaced_and_deleted(tmp_path: Path) -> None:
    """In the order of the messages; values keep their JSON form, names may hold anything."""
    path = tmp_path / "x.db"
    values: dict[str, Any] = {"a": 3.0, "b": {"c": [None, True]}, "a\0b": "x\0y", "ä": 2**60}
    store(
        path,
        changed(AttributesSet(GATEWAY, values, 1, "post"), AttributesSet(SUB_1, {"a": 0}, 1, "integration")),
        changed(AttributesSet(GATEWAY, {"a": 4.5}, 2, "integration"), AttributesDeleted(GATEWAY, ("b", "nope"))),
    )
    with SqliteFacts(path) as facts:
        assert facts.attributes(GATEWAY) == [
            Attribute("a", 4.5, 2, "integration"),
            Attribute("a\0b", "x\0y", 1, "post"),
            Attribute("ä", 2**60, 1, "post"),
        ]
        assert facts.attributes(SUB_1) == [Attribute("a", 0, 1, "integration")]
        assert facts.attributes(DeviceId("P", "\udc80")) == []


def test_tags_are_set_replaced_and_deleted(tmp_path: Path) -> None:
    """In the order of the messages."""
    path = tmp_path / "x.db"
    store(
        path,
        changed(TagsSet(GATEWAY, {"site": "north", "row": "1"}, 1)),
        changed(TagsDeleted(GATEWAY, ("site",))),
        changed(TagsSet(GATEWAY, {"site": "south"}, 3), TagsDeleted(GATEWAY, ("row",))),
    )
    with SqliteFacts(path) as facts:
        assert facts.tags(GATEWAY) == [Tag("site", "south", 3)]


def test_a_device_has_a_hundred_tags_at_most(tmp_path: Path) -> None:
    """A change that would make them more is not stored at all; others of the same transaction are."""
    path = tmp_path / "x.db"
    many = {f"t{number:02}": "" for number in range(99)}
    asked = [FactsWanted("tags", GATEWAY, ("t00", "a", "b")) for _ in range(3)]
    store(
        path,
        changed(TagsSet(GATEWAY, many, 1), TagsSet(SUB_1, many, 1)),
        changed(
            TagsSet(GATEWAY, {"t00": "new", "a": "1", "b": "2"}, 2), TagsSet(SUB_1, {"a": "1"}, 2), wanted=asked[0]
        ),
        changed(TagsSet(GATEWAY, {"t00": "new", "a": "1"}, 3), wanted=asked[1]),
        changed(TagsDeleted(GATEWAY, ("a",)), TagsSet(GATEWAY, {"b": "2"}, 4), wanted=asked[2]),
    )
    assert [each.result for each in asked] == [{"t00": ""}, {"t00": "new", "a": "1"}, {"t00": "new", "b": "2"}]
    with SqliteFacts(path) as facts:
        assert len(facts.tags(GATEWAY)) == len(facts.tags(SUB_1)) == TAGS_PER_DEVICE


def test_what_is_asked_for_is_found_in_its_place_among_the_changes(tmp_path: Path) -> None:
    """Messages of one transaction, one after the other: each sees what came before it, and nothing after it."""
    path = tmp_path / "x.db"
    before, between, named, tags = (
        FactsWanted("attributes", GATEWAY, ()),
        FactsWanted("attributes", GATEWAY, ()),
        FactsWanted("attributes", GATEWAY, ("b", "nope")),
        FactsWanted("tags", GATEWAY, ()),
    )
    store(
        path,
        changed(wanted=before),
        changed(AttributesSet(GATEWAY, {"a": 1, "b": [2]}, 1, "post")),
        changed(wanted=between),
        changed(AttributesDeleted(GATEWAY, ("a",)), TagsSet(GATEWAY, {"k": "v"}, 1)),
        changed(wanted=named),
        changed(wanted=tags),
    )
    assert (before.result, between.result) == ({}, {"a": 1, "b": [2]})
    assert (named.result, tags.result) == ({"b": [2]}, {"k": "v"})


def test_an_event_again_replaces_itself(tmp_path: Path) -> None:
    """The same device, event and time, in one transaction or in another."""
    path = tmp_path / "x.db"
    records = [changed(EventReported(GATEWAY, "alarm", 5, {"level": level}, "post", 7)) for level in (1, 2)]
    store(path, *records, changed(EventReported(GATEWAY, "alarm", 6, {}, "integration", 7)))
    store(path, changed(EventReported(GATEWAY, "alarm", 6, {"x": 1}, "post", 7)))
    with SqliteFacts(path) as facts:
        assert list(facts.events(GATEWAY)) == [
            EventReported(GATEWAY, "alarm", 5, {"level": 2}, "post", 7),
            EventReported(GATEWAY, "alarm", 6, {"x": 1}, "post", 7),
        ]


def test_events_are_read_in_pages_by_name_and_time(tmp_path: Path) -> None:
    """All of them, whatever the page holds; or those of one name, and from one time to another."""
    path = tmp_path / "x.db"
    reported = [EventReported(GATEWAY, name, time, {}, "post", 7) for name in "ab" for time in range(1500)]
    store(path, changed(*reversed(reported)))
    with SqliteFacts(path) as facts:
        assert list(facts.events(GATEWAY)) == reported
        assert [each.time for each in facts.events(GATEWAY, event="b", start=7, end=9)] == [7, 8, 9]
        assert list(facts.events(GATEWAY, start=10**30)) == list(facts.events(SUB_1)) == []


def test_a_hundred_comings_and_goings_are_kept_of_each_device(tmp_path: Path) -> None:
    """The newest; another device's stay."""
    path = tmp_path / "x.db"
    declare(path)
    seen = [PresenceChanged(SUB_1, bool(time % 2), time, "login", GATEWAY) for time in range(250)]
    store(path, changed(PresenceChanged(GATEWAY, True, 1, "connect", None), *seen))
    with SqliteFacts(path) as facts:
        assert facts.presence(SUB_1) == seen[:149:-1]
        assert facts.presence(SUB_1, limit=1) == seen[-1:]
        assert facts.last_presence() == {
            GATEWAY: PresenceChanged(GATEWAY, True, 1, "connect", None),
            SUB_1: seen[-1],
        }


def test_topology_added_and_removed_over_the_wire(tmp_path: Path) -> None:
    """What the file declared and the gateway lets go is remembered; what the wire added goes without a trace."""
    path = tmp_path / "x.db"
    declare(path, (GATEWAY, SUB_1))
    store(
        path,
        changed(TopologyAdded(GATEWAY, (SUB_1, SUB_2), 1), serial=1),
        changed(TopologyAdded(OTHER, (SUB_2, SUB_3), 2), serial=2),
    )
    directory = stored(path)
    assert directory.topology == {GATEWAY: {SUB_1, SUB_2}, OTHER: {SUB_2, SUB_3}}
    assert directory.wired == {(GATEWAY, SUB_2), (OTHER, SUB_2), (OTHER, SUB_3)}
    store(path, changed(TopologyRemoved(GATEWAY, (SUB_1, SUB_2), 9), serial=3))
    directory = stored(path)
    assert directory.topology == {OTHER: {SUB_2, SUB_3}}
    assert directory.released == {(GATEWAY, SUB_1): 9}
    store(path, changed(TopologyAdded(GATEWAY, (SUB_1,), 10), serial=4))
    directory = stored(path)
    assert (dict(directory.released), (GATEWAY, SUB_1) in directory.wired) == ({}, False)
    with open_registry(path, read_only=True) as registry:
        assert (registry.stored().serial, registry.stored().revision) == (4, 1)


def test_devices_are_registered_and_activated_in_one_transaction(tmp_path: Path) -> None:
    """With what the gateway said of them; a login that comes right behind finds its device."""
    path = tmp_path / "x.db"
    declare(path)
    said: dict[str, Any] = {"name": '"N"', "timezone": "+08:00", "registrar": str(GATEWAY)}
    made = [Device(DeviceId("S", f"new-{n}"), "", f"asset-{n}", **said) for n in range(60)]
    device = made[-1].id
    records = [
        changed(DevicesRegistered(GATEWAY, tuple(made), 1), serial=1),
        changed(SecretMade(device, "another", 2), serial=2),
        Record([], activated=(device,), time=3),
    ]
    assert store(path, *records) == [None, None, None]
    found = stored(path).devices[device]
    assert found == Device(device, "another", "asset-59", True, 3, "wire", **said)


def test_what_is_registered_again_is_stored_once(tmp_path: Path) -> None:
    """Also where the first time was lost; a device that has another secret now is not given its old one back."""
    path = tmp_path / "x.db"
    declare(path)
    made = [Device(DeviceId("S", f"new-{n}"), f"s-{n}", f"asset-{n}", origin="wire") for n in range(3)]
    first, again = (changed(DevicesRegistered(GATEWAY, tuple(rows), 1), serial=1) for rows in (made[:2], made))
    assert store(path, first, again) == [None, None]
    assert [stored(path).devices[row.id] for row in made] == made
    (fault,) = store(path, changed(DevicesRegistered(GATEWAY, (replace(made[0], secret="old"),), 1), serial=2))
    assert "UNIQUE constraint failed" in str(fault)
    assert stored(path).devices[made[0].id] == made[0]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (TopologyAdded(GATEWAY, (SUB_1, DeviceId("S", "nobody")), 1), "S/nobody cannot be a sub-device of P/gw-1"),
        (TopologyAdded(DeviceId("P", "nobody"), (SUB_1,), 1), "S/sub-1 cannot be a sub-device of P/nobody"),
        (TopologyAdded(SUB_3, (SUB_1,), 1), "S/sub-1 cannot be a sub-device of S/sub-3"),
        (TopologyAdded(GATEWAY, (OTHER,), 1), "P/gw-2 cannot be a sub-device of P/gw-1"),
        (DevicesRegistered(GATEWAY, (Device(DeviceId("X", "d")),), 1), "product X is no more"),
        (DevicesRegistered(GATEWAY, (Device(SUB_1, "another"),), 1), "UNIQUE constraint failed"),
        (DevicesRegistered(GATEWAY, (Device(DeviceId("S", "d"), asset_id="sub-1"),), 1), "UNIQUE constraint failed"),
        (SecretMade(DeviceId("S", "nobody"), "s", 1), "device S/nobody is no more"),
        (SecretMade(GATEWAY, "made", 1), "device P/gw-1 is no more, or has another secret"),
        (AttributesSet(GATEWAY, {"a": 1}, 2**63, "post"), "no integer of 64 bits"),
        (AttributesSet(GATEWAY, {"a": float("nan")}, 1, "post"), "a: nan has no JSON form"),
    ],
)
def test_a_change_that_the_registry_does_not_bear_fails_alone(tmp_path: Path, change: Change, reason: str) -> None:
    """With all of its message; those in the same transaction are stored."""
    path = tmp_path / "x.db"
    declare(path, (OTHER, SUB_3))
    before = stored(path)
    records = [
        changed(TagsSet(GATEWAY, {"first": "1"}, 1)),
        Record([point()], changes=(change,)),
        changed(TagsSet(GATEWAY, {"second": "2"}, 1)),
    ]
    first, fault, second = store(path, *records)
    assert (first, second) == (None, None)
    assert reason in str(fault)
    after = stored(path)
    assert (after.devices, after.topology) == (before.devices, before.topology)
    with SqliteFacts(path) as facts:
        assert [tag.key for tag in facts.tags(GATEWAY)] == ["first", "second"]


def test_what_is_said_of_a_device_goes_with_it(tmp_path: Path) -> None:
    """Attributes, tags and presence; events are history, as points are."""
    path = tmp_path / "x.db"
    declare(path)
    store(
        path,
        changed(
            AttributesSet(SUB_1, {"a": 1}, 1, "post"),
            TagsSet(SUB_1, {"a": "1"}, 1),
            PresenceChanged(SUB_1, True, 1, "login", GATEWAY),
            EventReported(SUB_1, "e", 1, {}, "post", 7),
        ),
    )
    with open_registry(path) as registry:
        registry.apply(lambda old: Directory(old.products.values(), [old.devices[GATEWAY]]))
    with SqliteFacts(path) as facts:
        assert [*facts.attributes(SUB_1), *facts.tags(SUB_1), *facts.presence(SUB_1)] == []
        assert len(list(facts.events(SUB_1))) == 1
