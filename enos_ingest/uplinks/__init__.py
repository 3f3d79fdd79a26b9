"""What devices ask of the hub, one family of requests a file.

route           what a route is: a topic, a schema, the codes of its faults, a handler
measurepoints   resume, resume/batch, integration post
session         combine/login and combine/logout of sub-devices

A new uplink is a route here, a schema in `schemas/envelopes/`, and a handler; `ROUTES` below lists them all.
"""

from __future__ import annotations

from enos_ingest.protocol.topics import Family
from enos_ingest.uplinks import measurepoints, session
from enos_ingest.uplinks.route import Route

__all__ = ["ROUTES"]

ROUTES: dict[tuple[Family, str], Route] = {
    (route.family, route.action): route for route in (*measurepoints.ROUTES, *session.ROUTES)
}
