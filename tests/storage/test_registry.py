"""The registry in the database: differences, revisions, one transaction."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest

from enos_ingest.devices.directory import Application, Device, Directory, OperatorAccount, Product
from enos_ingest.errors import RegistryError, StorageError
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.storage.registry import open_registry

GATEWAY, SUB_1, SUB_2 = DeviceId("EbxGvUrE", "gw-1"), DeviceId("Sb7PkXyZ", "sub001"), DeviceId("Sb7PkXyZ", "sub002")

PRODUCTS = [
    Product("EbxGvUrE", "ps", "inverter", dynamic_activation=True, require_tls=True, codec="zip"),
    Product("Sb7PkXyZ", allow_reactivation=True, register=True),
]
DEVICES = [
    Device(GATEWAY, "gs", "asset-1"),
    Device(SUB_1, "s1", "asset-2", enabled=False),
    Device(SUB_2, "s2", "asset-3", activated=5),
]
FULL = Directory(
    PRODUCTS,
    DEVICES,
    [(GATEWAY, SUB_1), (GATEWAY, SUB_2)],
    [Application("scada", "key", "secret", "hash", frozenset({"read", "control"})), Application("bare")],
    [OperatorAccount("alice", "scrypt$", frozenset({"read", "write"})), OperatorAccount("bob")],
)


def with_devices(devices: Iterable[Device], topology: Iterable[tuple[DeviceId, DeviceId]] = ()) -> Directory:
    """A directory of the two products and these devices."""
    return Directory(PRODUCTS, devices, topology)


def assert_same(left: Directory, right: Directory) -> None:
    """Every table holds the same rows."""
    assert left.products == right.products
    assert left.devices == right.devices
    assert left.topology == right.topology
    assert left.applications == right.applications
    assert left.operators == right.operators


def test_everything_comes_back(tmp_path: Path) -> None:
    """Every column of every table is stored, and read by the next program."""
    with open_registry(tmp_path / "x.db") as registry:
        old, new = registry.apply(lambda _: FULL)
        assert_same(old, Directory())
        assert_same(new, FULL)
    with open_registry(tmp_path / "x.db", read_only=True) as registry:
        assert_same(registry.directory(), FULL)


def test_the_same_again_changes_nothing(tmp_path: Path) -> None:
    """The revision grows with a change, and only then."""
    with open_registry(tmp_path / "x.db") as registry:
        assert registry.revision() == 0
        registry.apply(lambda _: FULL)
        assert registry.revision() == 1
        old, new = registry.apply(lambda _: FULL)
        assert registry.revision() == 1
        assert_same(old, new)
        registry.apply(lambda now: Directory(now.products.values(), now.devices.values()))
        assert registry.revision() == 2


@pytest.mark.parametrize("table", ["products", "devices", "topology", "applications", "operators"])
def test_each_table_takes_changes_and_removals(tmp_path: Path, table: str) -> None:
    """From full to a variant and back, table by table, and to nothing at the end."""
    changed = {
        "products": Directory(
            [Product("EbxGvUrE", "new", "battery"), Product("Sb7PkXyZ", codec="x"), Product("More")], DEVICES,
            [(GATEWAY, SUB_1), (GATEWAY, SUB_2)], FULL.applications.values(), FULL.operators.values(),
        ),
        "devices": Directory(
            PRODUCTS, [Device(GATEWAY, "new", "asset-9", enabled=False)], [],
            FULL.applications.values(), FULL.operators.values(),
        ),
        "topology": Directory(
            PRODUCTS, DEVICES, [(GATEWAY, SUB_1), (SUB_2, SUB_1)], FULL.applications.values(), FULL.operators.values()
        ),
        "applications": Directory(
            PRODUCTS, DEVICES, [(GATEWAY, SUB_1), (GATEWAY, SUB_2)],
            [Application("scada", "k2", "s2", "h2", frozenset({"admin"})), Application("new")], FULL.operators.values(),
        ),
        "operators": Directory(
            PRODUCTS, DEVICES, [(GATEWAY, SUB_1), (GATEWAY, SUB_2)], FULL.applications.values(),
            [OperatorAccount("alice", "other", frozenset()), OperatorAccount("carol")],
        ),
    }[table]  # fmt: skip
    with open_registry(tmp_path / "x.db") as registry:
        registry.apply(lambda _: FULL)
        for number, target in enumerate([changed, FULL, Directory()], start=2):
            registry.apply(lambda _, target=target: target)  # type: ignore[misc]
            found = registry.directory()
            if table == "devices" and target is FULL:
                # Removed and declared again: a new device, with what it was declared with.
                assert found.devices[SUB_2].activated == 5
            assert_same(found, target)
            assert registry.revision() == number


def test_activation_of_a_device_that_stays_is_kept(tmp_path: Path) -> None:
    """A declaration knows no activation: what the writer has stored stays, and is no change."""
    with open_registry(tmp_path / "x.db") as registry:
        registry.apply(lambda _: with_devices([Device(SUB_2, "s2", "asset-3", activated=5)]))
        registry.apply(lambda _: with_devices([Device(SUB_2, "s2", "asset-3")]))
        assert registry.revision() == 1
        _, new = registry.apply(lambda _: with_devices([Device(SUB_2, "changed", "asset-3")]))
        assert new.devices == {SUB_2: Device(SUB_2, "changed", "asset-3", activated=5)}


def test_devices_may_swap_their_asset_ids(tmp_path: Path) -> None:
    """Unique asset ids can move from device to device in one change, also from one that goes."""
    one, two, three = Device(GATEWAY, asset_id="a"), Device(SUB_1, asset_id="b"), Device(SUB_2, asset_id="c")
    with open_registry(tmp_path / "x.db") as registry:
        registry.apply(lambda _: with_devices([one, two, three]))
        target = with_devices([Device(GATEWAY, asset_id="b"), Device(SUB_1, asset_id="c")])
        _, new = registry.apply(lambda _: target)
        assert_same(new, target)


@pytest.mark.parametrize(
    "target",
    [
        Directory([], [Device(GATEWAY)]),
        with_devices([Device(GATEWAY)], [(GATEWAY, SUB_1)]),
        with_devices([Device(GATEWAY, asset_id="same"), Device(SUB_1, asset_id="same")]),
    ],
    ids=["device without product", "topology without device", "asset id twice"],
)
def test_a_contradiction_changes_nothing(tmp_path: Path, target: Directory) -> None:
    """What does not fit together is refused as a whole."""
    with open_registry(tmp_path / "x.db") as registry:
        registry.apply(lambda _: FULL)
        with pytest.raises(StorageError, match="constraint failed"):
            registry.apply(lambda _: target)
        assert_same(registry.directory(), FULL)
        assert registry.revision() == 1


def test_an_error_in_the_computation_changes_nothing(tmp_path: Path) -> None:
    """The lock is let go, the error is the caller's own, and the registry can be changed afterwards."""

    def refuse(_: Directory) -> Directory:
        raise RegistryError("x.toml", ["devices[0] key: missing"])

    with open_registry(tmp_path / "x.db") as registry:
        with pytest.raises(RegistryError, match=r"devices\[0\] key: missing"):
            registry.apply(refuse)
        registry.apply(lambda _: FULL)
        assert registry.revision() == 1


def test_two_programs_change_one_after_the_other(tmp_path: Path) -> None:
    """Nobody comes between reading, computing and writing: of two that add a device, both are there."""
    path = tmp_path / "x.db"
    inside = threading.Event()
    second_started = threading.Event()

    def add_first(now: Directory) -> Directory:
        inside.set()
        second_started.wait()
        return with_devices([*now.devices.values(), Device(SUB_1)])

    def add_second(now: Directory) -> Directory:
        return with_devices([*now.devices.values(), Device(SUB_2)])

    def run_first() -> None:
        with open_registry(path) as registry:
            registry.apply(add_first)

    with open_registry(path) as registry:
        registry.apply(lambda _: with_devices([Device(GATEWAY)]))
        first = threading.Thread(target=run_first)
        first.start()
        inside.wait()
        second_started.set()
        old, new = registry.apply(add_second)
        first.join()
    assert set(old.devices) == {GATEWAY, SUB_1}
    assert set(new.devices) == {GATEWAY, SUB_1, SUB_2}


def test_points_of_a_removed_device_stay(tmp_path: Path) -> None:
    """The registry says who may report, not what was reported."""
    path = tmp_path / "x.db"
    with open_registry(path) as registry, closing(sqlite3.connect(path)) as other:
        registry.apply(lambda _: FULL)
        with other:
            other.execute("INSERT INTO series VALUES (1, 'EbxGvUrE', 'gw-1', 'temp')")
            other.execute("INSERT INTO points VALUES (1, 1, '1', NULL, 0)")
        registry.apply(lambda _: Directory())
        assert other.execute("SELECT count(*) FROM measurepoints").fetchone() == (1,)


def test_a_read_only_registry_refuses_changes(tmp_path: Path) -> None:
    """Opened to be read, it makes no database and changes none."""
    path = tmp_path / "x.db"
    with pytest.raises(StorageError, match="no database at"):
        open_registry(path, read_only=True)
    open_registry(path).close()
    with open_registry(path, read_only=True) as registry, pytest.raises(StorageError, match="is read-only"):
        registry.apply(lambda _: FULL)
