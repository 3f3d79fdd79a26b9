"""The registry file and the wire change the same truth: what each leaves of the other's, and how one sees it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enos_ingest.devices.apply import apply_declaration
from enos_ingest.devices.changes import DevicesRegistered, SecretMade, TopologyAdded, TopologyRemoved
from enos_ingest.devices.declaration import check_declaration
from enos_ingest.devices.directory import Device, Directory
from enos_ingest.errors import RegistryError
from enos_ingest.protocol.identity import DeviceId
from tests.devices.registries import MODELS, apply, documents, faults

GATEWAY, OTHER = DeviceId("P", "gw"), DeviceId("P", "gw-2")
SUB, SECOND, NEW = DeviceId("P", "sub"), DeviceId("P", "sub-2"), DeviceId("P", "new")
TIME = 1_700_000_000_123


def device(key: str, **more: Any) -> dict[str, Any]:
    """A row of a registry file."""
    return {"product": "P", "key": key, "secret": "s", **more}


def site(*sub_devices: str, **more: Any) -> dict[str, Any]:
    """A registry file with a gateway that has these sub-devices."""
    return {
        "products": [{"key": "P", "dynamic_activation": True}],
        "devices": [device("gw"), device("gw-2"), device("sub"), device("sub-2")],
        "gateways": [{"device": "P/gw", "sub_devices": [f"P/{key}" for key in sub_devices]}],
        **more,
    }


def told(document: dict[str, Any], current: Directory, *, prune: bool = False, restore: bool = False) -> list[str]:
    """What an apply prints."""
    declaration = check_declaration(document, "registry.toml")
    return [str(change) for change in apply_declaration(declaration, current, MODELS, prune=prune, restore=restore)[1]]


def after(document: dict[str, Any], current: Directory, *, prune: bool = False, restore: bool = False) -> Directory:
    """What an apply makes of a directory."""
    declaration = check_declaration(document, "registry.toml")
    return apply_declaration(declaration, current, MODELS, prune=prune, restore=restore)[0]


def test_a_sub_device_that_was_let_go_stays_away() -> None:
    """However often the file is applied, until somebody says otherwise."""
    before = apply(site("sub", "sub-2"))[0].changed([TopologyRemoved(GATEWAY, (SUB,), TIME)])
    kept = (
        "kept removed sub-device P/sub of P/gw: the gateway let it go at 2023-11-14T22:13:20Z; "
        "`registry apply --restore` adds it again"
    )
    for prune in (False, True):
        assert told(site("sub", "sub-2"), before, prune=prune) == [kept]
        directory = after(site("sub", "sub-2"), before, prune=prune)
        assert directory.sub_devices(GATEWAY) == {SECOND}
        assert directory.released == {(GATEWAY, SUB): TIME}
    assert told(site("sub", "sub-2"), before, restore=True) == ["add    sub-device P/sub of P/gw"]
    restored = after(site("sub", "sub-2"), before, restore=True)
    assert restored.sub_devices(GATEWAY) == {SUB, SECOND}
    assert restored.released == {}


def test_a_file_that_says_nothing_of_it_leaves_it_let_go_unless_it_prunes() -> None:
    """A part of the registry says nothing of the rest; with --prune the file is all there is."""
    before = apply(site("sub"))[0].changed([TopologyRemoved(GATEWAY, (SUB,), TIME)])
    assert told(site(), before) == []
    assert after(site(), before).released == {(GATEWAY, SUB): TIME}
    assert told(site(), before, prune=True) == ["forget sub-device P/sub of P/gw (let it go at 2023-11-14T22:13:20Z)"]
    pruned = after(site(), before, prune=True)
    assert pruned.released == {}
    assert told(site("sub"), pruned) == ["add    sub-device P/sub of P/gw"]


def test_what_the_wire_added_stays_unless_the_file_prunes() -> None:
    """And is named with its origin when it goes."""
    first, _ = apply(site())
    registered = Device(NEW, "made", "asset", origin="wire", name='"N"', timezone="+08:00")
    before = first.changed([DevicesRegistered(GATEWAY, (registered,), TIME), TopologyAdded(GATEWAY, (NEW, SUB), TIME)])
    assert told(site(), before) == []
    assert told(site(), before, prune=True) == [
        "remove device P/new (origin wire)",
        "remove sub-device P/new of P/gw (origin wire)",
        "remove sub-device P/sub of P/gw (origin wire)",
    ]
    assert after(site(), before, prune=True).wired == frozenset()


def test_the_file_adopts_what_the_wire_added() -> None:
    """Once it declares the same; the other is then told from what it was."""
    before = apply(site())[0].changed([TopologyAdded(GATEWAY, (SUB, SECOND), TIME)])
    assert told(site("sub"), before) == ["change sub-device P/sub of P/gw (origin)"]
    assert after(site("sub"), before).wired == {(GATEWAY, SECOND)}
    assert told(site("sub"), after(site("sub"), before)) == []


def test_a_registered_device_is_the_files_once_it_gives_it_a_secret() -> None:
    """Before, the file may say other things of it; what its gateway said of it stays."""
    registered = Device(NEW, "made", "asset", origin="wire", name='"N"', timezone="+08:00")
    before = apply(site())[0].changed([DevicesRegistered(GATEWAY, (registered,), TIME)])
    row = {"product": "P", "key": "new", "asset_id": "asset", "enabled": False}
    assert told(site(devices=[row]), before) == ["change device P/new (enabled = false)"]
    disabled = after(site(devices=[row]), before)
    assert disabled.devices[NEW] == Device(NEW, "made", "asset", False, None, "wire", '"N"', "+08:00")
    row = {**row, "secret": "other"}
    assert told(site(devices=[row]), disabled) == ["change device P/new (secret, origin)"]
    assert after(site(devices=[row]), disabled).devices[NEW].origin == "file"


def test_a_secret_made_by_activation_is_kept_by_a_file_without_one() -> None:
    """One that differs is a change, and is printed."""
    row = {"product": "P", "key": "new"}
    document = site(devices=[row])
    before = apply(document, apply(site())[0])[0].changed([SecretMade(NEW, "made", TIME)])
    assert told(document, before) == []
    assert after(document, before).devices[NEW].secret == "made"
    assert told(site(devices=[{**row, "secret": "other"}]), before) == ["change device P/new (secret)"]


def test_what_was_let_go_makes_nobody_a_gateway() -> None:
    """The wire may have built other topology since: the file that stands must not keep the hub from starting."""
    document = site("sub")
    before = apply(document)[0].changed(
        [TopologyRemoved(GATEWAY, (SUB,), TIME), TopologyAdded(OTHER, (GATEWAY,), TIME)]
    )
    assert before.gateways(GATEWAY) == {OTHER}
    assert after(document, before).topology == {OTHER: {GATEWAY}}
    before = apply(document)[0].changed([TopologyRemoved(GATEWAY, (SUB,), TIME), TopologyAdded(SUB, (SECOND,), TIME)])
    assert after(document, before).topology == {SUB: {SECOND}}
    restored = check_declaration(document, "registry.toml")
    with pytest.raises(RegistryError, match="sub-device P/sub is a gateway itself"):
        apply_declaration(restored, before, MODELS, restore=True)


def test_what_was_taken_back_and_let_go_again_stays_away() -> None:
    """The file must not bring it back by itself, nor keep the hub from starting."""
    document = site("sub")
    away = apply(document)[0].changed(
        [
            TopologyRemoved(GATEWAY, (SUB,), TIME),
            TopologyAdded(GATEWAY, (SUB,), TIME),
            TopologyRemoved(GATEWAY, (SUB,), TIME),
        ]
    )
    assert after(document, away).topology == {}
    moved = away.changed([TopologyAdded(OTHER, (GATEWAY,), TIME)])
    assert after(document, moved).topology == {OTHER: {GATEWAY}}


_KEYS = [DeviceId("P", key) for key in ("gw", "gw-2", "sub", "sub-2")]


@given(
    st.lists(
        st.builds(
            lambda kind, gateway, subs: kind(gateway, tuple(subs), TIME),
            st.sampled_from([TopologyAdded, TopologyRemoved]),
            st.sampled_from(_KEYS),
            st.lists(st.sampled_from(_KEYS), unique=True),
        )
    )
)
def test_whatever_the_wire_did_the_file_that_was_applied_can_be_applied_again(changes: list[Any]) -> None:
    """It finds no fault, undoes nothing, and a second time changes nothing at all."""
    document = site("sub", "sub-2")
    before = apply(document)[0].changed(changes)
    directory = after(document, before)
    assert directory.topology == before.topology
    assert all(line.startswith("kept removed ") for line in told(document, directory))


@given(documents(), documents())
def test_a_directory_read_from_two_files_has_no_trace_of_the_wire(first: Any, second: Any) -> None:
    """All of it is the file's."""
    directory, _ = apply(first)
    if not faults(second, directory):
        directory, _ = apply(second, directory)
    assert (directory.wired, dict(directory.released)) == (frozenset(), {})
    assert {row.origin for row in directory.devices.values()} <= {"file"}
