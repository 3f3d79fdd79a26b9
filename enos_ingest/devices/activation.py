"""Dynamic activation: a device that knows its product's secret alone is given one of its own, once."""

from __future__ import annotations

from enos_ingest.devices.changes import SecretMade
from enos_ingest.devices.directory import Device, Directory
from enos_ingest.devices.presence import Presence
from enos_ingest.protocol.codes import Code
from enos_ingest.protocol.credentials import make_secret

__all__ = ["activate", "activation_fault"]


def activation_fault(device: Device, directory: Directory, presence: Presence) -> tuple[Code, str] | None:
    """Why a device may not be activated with its product's secret; None where it may.

    The first login activates a device, of whichever kind it is: after that its product has to allow another.
    """
    product = directory.products[device.id.product_key]
    if not product.dynamic_activation:
        return Code.ACTIVATION_NOT_ALLOWED, f"product {product.key} does not allow dynamic activation"
    if product.allow_reactivation:
        return None
    if device.activated is not None or presence.has_logged_in(device.id):
        return Code.ALREADY_ACTIVATED, f"device {device.id} is activated already"
    return None


def activate(device: Device, now: int) -> SecretMade:
    """The change that gives a device its secret: the one that it was declared with, else one that is made.

    A secret that the registry file declares is thus never at odds with the one that the device has.
    """
    return SecretMade(device.id, device.secret or make_secret(), now)
