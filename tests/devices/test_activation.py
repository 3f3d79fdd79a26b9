"""Who may be given a secret, and which."""

from __future__ import annotations

import pytest

from enos_ingest.devices.activation import activate, activation_fault
from enos_ingest.devices.directory import Device, Directory, Product
from enos_ingest.devices.presence import Presence
from enos_ingest.protocol.identity import DeviceId

ID = DeviceId("P", "d")


@pytest.mark.parametrize(
    ("product", "activated", "seen", "code"),
    [
        (Product("P"), None, False, 770),
        (Product("P", allow_reactivation=True), None, False, 770),
        (Product("P", dynamic_activation=True), None, False, None),
        (Product("P", dynamic_activation=True), 1, False, 771),
        (Product("P", dynamic_activation=True), None, True, 771),
        (Product("P", dynamic_activation=True, allow_reactivation=True), 1, True, None),
    ],
)
def test_a_device_is_activated_once_where_its_product_allows_it(
    product: Product, activated: int | None, seen: bool, code: int | None
) -> None:
    """By what is stored, and by what has happened since the start."""
    device, presence = Device(ID, activated=activated), Presence()
    if seen:
        presence.is_first_login(ID)
    fault = activation_fault(device, Directory([product], [device]), presence)
    assert (fault[0] if fault else None) == code


def test_a_secret_that_is_there_stays() -> None:
    """One is made only where there is none."""
    assert activate(Device(ID, "declared"), 5) == (ID, "declared", 5)
    made = {activate(Device(ID), 5).secret for _ in range(2)}
    assert len(made) == 2
    assert "" not in made
