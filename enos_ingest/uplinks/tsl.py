"""The thing model, for a device that asks for its own."""

from __future__ import annotations

from enos_ingest.protocol.topics import Family
from enos_ingest.uplinks.route import Accepted, Request, Route, World
from enos_ingest.uplinks.subject import COMMON_CODES, known_model, speaking_device

__all__ = ["ROUTES", "get"]


def get(request: Request, world: World) -> Accepted:
    """`/sys/{productKey}/{deviceKey}/thing/tsltemplate/get`: the thing model of the device's product, as it is now."""
    device = speaking_device(request, world)
    return Accepted(known_model(device, ("params",), world).template)


ROUTES = (Route(Family.DEVICE, "thing/tsltemplate/get", "tsltemplate-get", COMMON_CODES, get),)
