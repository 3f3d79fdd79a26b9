"""What devices ask of the hub, one family of requests a file.

route           what a route is: a topic, a schema, the codes of its faults, a handler
measurepoints   post and resume, alone and in batch; integration post
session         combine/login, login/batch and logout of sub-devices
topology        topo/add, topo/delete, topo/get
register        device/register
attributes      update, query, delete; integration attribute post
events          post, integration event post
tags            update, query, delete
tsl             tsltemplate/get, the thing model
unserved        what is answered 1009, and in which words
subject         which device a request is about, and whether its sender may speak for it

A new uplink is a route here, a schema in `schemas/envelopes/`, and a handler; `ROUTES` below lists them all.
"""

from __future__ import annotations

from enos_ingest.protocol.topics import Topic, filter_matches
from enos_ingest.uplinks import (
    attributes,
    events,
    measurepoints,
    register,
    session,
    tags,
    topology,
    tsl,
)
from enos_ingest.uplinks.route import Route

__all__ = ["ROUTES", "find_route"]

_FAMILIES = (
    measurepoints,
    session,
    topology,
    register,
    attributes,
    events,
    tags,
    tsl,
)

ROUTES: dict[str, Route] = {route.kind: route for family in _FAMILIES for route in family.ROUTES}
"""By the kind of their topics."""

_WITH_NAMES = tuple(route for route in ROUTES.values() if "+" in route.action)
"""Those whose topics hold a name, such as that of an event."""


def find_route(topic: Topic) -> Route | None:
    """The route of a topic, None where it is none of ours."""
    route = ROUTES.get(topic.kind)
    if route is not None:
        return route
    return next((route for route in _WITH_NAMES if filter_matches(route.kind, topic.kind)), None)
