"""The registry in force against the one in the database, whatever comes between a change and its commit."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enos_ingest.devices.changes import (
    Change,
    DevicesRegistered,
    SecretMade,
    TagsSet,
    TopologyAdded,
    TopologyRemoved,
)
from enos_ingest.devices.directory import Device, Directory, Product
from enos_ingest.errors import StorageError
from enos_ingest.outcome import Record
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.registry import LiveRegistry
from enos_ingest.storage import quarantine
from enos_ingest.storage.database import Database
from enos_ingest.storage.group import Group
from enos_ingest.storage.registry import SqliteRegistry, open_registry
from enos_ingest.storage.store import Done, StoredRegistry

DEVICES = [DeviceId("P", name) for name in ("a", "b", "c", "d")]


def contents(directory: Directory) -> tuple[Any, ...]:
    """All that one directory can differ from another in, and that changes here."""
    return (
        dict(directory.products),
        dict(directory.devices),
        dict(directory.topology),
        {device: directory.gateways(device) for device in directory.devices},
        directory.wired,
        dict(directory.released),
        {row.asset_id: directory.find_by_asset_id(row.asset_id) for row in directory.devices.values()},
    )


class SlowStore:
    """Takes records and commits as many of them as it is told to, when it is told to."""

    def __init__(self, path: Path) -> None:
        self.waiting: list[tuple[Record, Done]] = []
        self._told: list[tuple[Done, StorageError | None]] = []
        self._database = Database(path, quarantine.Bounds(10, 10**6))

    def commit(self, record: Record, done: Done) -> None:
        self.waiting.append((record, done))

    def write(self, count: int) -> None:
        """Commit some, and keep to ourselves that we did."""
        group = Group()
        taken = self.waiting[:count]
        for record, _ in taken:
            group.add(record)
        del self.waiting[:count]
        if len(group):
            self._database.commit(group)
        for at, (_, done) in enumerate(taken):
            self._told.append((done, StorageError(group.faults[at]) if at in group.faults else None))

    def tell(self) -> None:
        """Tell those that are committed."""
        for done, fault in self._told:
            done(fault)
        self._told.clear()

    def close(self) -> None:
        self._database.close()


@st.composite
def changes(draw: st.DrawFn) -> Change:
    """A change of the registry as one may come in."""
    device = draw(st.sampled_from(DEVICES))
    others = tuple(draw(st.lists(st.sampled_from(DEVICES), max_size=2, unique=True)))
    number = draw(st.integers(1, 9))
    possible: list[Change] = [
        TopologyAdded(device, others, number),
        TopologyRemoved(device, others, number),
        SecretMade(device, f"secret {number}", number),
        DevicesRegistered(device, tuple(Device(each, "new", str(each)) for each in others), number),
    ]
    change: Change = draw(st.sampled_from(possible))
    return change


@st.composite
def edits(draw: st.DrawFn) -> Callable[[Directory], Directory]:
    """What a registry file may make of a registry: other devices, other topology, what was let go brought back."""
    kept = draw(st.sets(st.sampled_from(DEVICES)))
    link = tuple(draw(st.permutations(DEVICES))[:2])
    restored = draw(st.booleans())

    def edit(old: Directory) -> Directory:
        devices = {device: Device(device, "file", str(device)) for device in kept}
        links = {
            (gateway, sub) for gateway, subs in old.topology.items() for sub in subs if {gateway, sub} <= devices.keys()
        }
        released = {} if restored else {link: time for link, time in old.released.items() if set(link) <= kept}
        new = Directory(old.products.values(), devices.values(), links, wired=links & old.wired, released=released)
        return new if link in released or not new.bears_link(*link) else _linked(new, link)

    return edit


def _linked(directory: Directory, link: Any) -> Directory:
    links = {(gateway, sub) for gateway, subs in directory.topology.items() for sub in subs} | {link}
    rows = directory.products.values(), directory.devices.values()
    return Directory(*rows, links, wired=directory.wired - {link}, released=directory.released)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("change"), st.lists(changes(), min_size=1, max_size=2)),
        st.tuples(st.just("write"), st.integers(1, 4)),
        st.tuples(st.just("tell"), st.none()),
        st.tuples(st.just("edit"), edits()),
        st.tuples(st.just("begin"), st.none()),
        st.tuples(st.just("read"), st.none()),
        st.tuples(st.just("end"), st.none()),
    ),
    max_size=30,
)


@settings(deadline=None, max_examples=200)
@given(STEPS)
def test_memory_and_database_come_to_the_same(steps: list[tuple[str, Any]]) -> None:
    """Whatever the order of changes over the wire, their commits, applied files, and readings that take a while."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_play(Path(folder) / "x.db", steps))


async def _play(path: Path, steps: list[tuple[str, Any]]) -> None:
    with open_registry(path) as file:
        devices = [Device(each, "file", str(each)) for each in DEVICES[:3]]
        file.apply(lambda _: Directory([Product("P")], devices, [(DEVICES[0], DEVICES[1])]))
        store = SlowStore(path)
        try:
            await Play(store, file).run(steps)
        finally:
            store.close()


class Play:
    """A live registry on a slow store, beside one who applies files; a reading begins, is done, and is taken over."""

    def __init__(self, store: SlowStore, file: SqliteRegistry) -> None:
        self._store = store
        self._file = file
        self._live = LiveRegistry(store)
        self._reading: asyncio.Task[bool] | None = None
        self._found: asyncio.Future[StoredRegistry | None]

    async def run(self, steps: list[tuple[str, Any]]) -> None:
        await self._read_all()
        for action, argument in steps:
            match action:
                case "change":
                    self._live.commit(Record([], changes=tuple(argument)), lambda _: None)
                case "write":
                    self._store.write(argument)
                case "tell":
                    self._store.tell()
                case "edit":
                    self._file.apply(argument)
                case "begin":
                    await self._begin()
                case "read":
                    self._read()
                case "end":
                    await self._end()
        await self._read_all()
        self._store.write(len(self._store.waiting))
        self._store.tell()
        await self._read_all()
        assert contents(self._live.directory) == contents(self._file.directory())
        assert self._live.pending == 0

    async def _read_all(self) -> None:
        await self._end()
        await self._begin()
        await self._end()

    async def _begin(self) -> None:
        if self._reading is None:
            self._found = asyncio.get_running_loop().create_future()
            self._reading = asyncio.create_task(self._live.refresh(lambda: self._found))
            await asyncio.sleep(0)

    def _read(self) -> None:
        if self._reading is None or self._found.done():
            return
        stored = self._file.stored()
        is_ours = stored.revision == self._live.revision and not self._live.is_stale
        self._found.set_result(None if is_ours else stored)

    async def _end(self) -> None:
        if self._reading is not None:
            self._read()
            await self._reading
            self._reading = None


def test_other_changes_are_no_changes_of_the_registry() -> None:
    """They are handed on as they are."""

    class Taker:
        def commit(self, record: Record, done: Done) -> None:
            taken.append((record, done))

    taken: list[tuple[Record, Done]] = []
    live = LiveRegistry(Taker())
    before = live.directory

    def done(_: StorageError | None) -> None:
        raise AssertionError

    live.commit(Record([], changes=(TagsSet(DEVICES[0], {"a": "b"}, 1),)), done)
    assert (taken[0][0].serial, taken[0][1], live.directory) == (0, done, before)


def test_a_reading_that_fails_leaves_the_registry_as_it_is(tmp_path: Path) -> None:
    """And what was committed meanwhile is not kept any longer."""

    async def run() -> None:
        store = SlowStore(tmp_path / "x.db")
        with open_registry(tmp_path / "x.db") as file:
            file.apply(lambda _: Directory([Product("P")], [Device(each) for each in DEVICES]))
            live = LiveRegistry(store)
            await live.refresh(lambda: _ready(file.stored()))

            async def fail() -> StoredRegistry | None:
                live.commit(Record([], changes=(TopologyAdded(DEVICES[0], (DEVICES[1],), 1),)), lambda _: None)
                store.write(1)
                store.tell()
                raise StorageError("no")

            with pytest.raises(StorageError):
                await live.refresh(fail)
            assert live.directory.topology == {DEVICES[0]: {DEVICES[1]}}
            assert live.pending == 0
        store.close()

    asyncio.run(run())


async def _ready(found: StoredRegistry) -> StoredRegistry:
    return found
