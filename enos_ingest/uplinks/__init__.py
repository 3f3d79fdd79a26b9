"""What devices ask of the hub, one family of requests a file.

route           what a route is: a topic, a schema, the codes of its faults, a handler
measurepoints   resume, resume/batch, integration post
session         combine/login and combine/logout of sub-devices

A new uplink is a route here, a schema in `schemas/envelopes/`, and a handler; `ROUTES` below lists them all.
"""

from __future__ import annotations

from enos_ingest.uplinks import measurepoints, session
from enos_ingest.uplinks.route import Route

__all__ = ["ROUTES"]

ROUTES: dict[str, Route] = {route.kind: route for route in (*measurepoints.ROUTES, *session.ROUTES)}
"""By the kind of their topics."""
