"""How the requests of the cases are written down."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.cases.case import Case, Stored, T
from tests.cases.world import CHANNEL, GATEWAY, GATEWAYS

__all__ = [
    "ABSENT",
    "ALONE",
    "BATCH",
    "BATCHES",
    "LIVE",
    "LIVE_BATCH",
    "POST",
    "RESUME",
    "UPLINKS",
    "WITH_ITEMS",
    "Place",
    "Uplink",
    "places",
]

ABSENT = object()
"""Stands for a field that is left out."""


class Uplink(NamedTuple):
    """One of the topics that take points; `item` of the cases is the gateway's own unless it says otherwise."""

    name: str
    topic: str
    method: str
    sender: str
    origin: str

    def request(self, params: Any, **fields: Any) -> dict[str, Any]:
        """A request with the id "7"; `fields` replace members of the envelope, or leave them out."""
        document = {"id": "7", "version": "1.0", "method": self.method, "params": params, **fields}
        return {key: value for key, value in document.items() if value is not ABSENT}

    def item(self, measurepoints: Any = None, time: Any = T, **fields: Any) -> dict[str, Any]:
        """An item that is accepted, unless `fields` say otherwise."""
        points = {"temp": 1.5} if measurepoints is None else measurepoints
        device = {"deviceKey": GATEWAY.partition("/")[2]} if self is POST else {}
        item = {**device, "measurepoints": points, "time": time, **fields}
        return {key: value for key, value in item.items() if value is not ABSENT}

    def params(self, item: Any) -> Any:
        """The params that hold one item."""
        return item if self in ALONE else [item]

    @property
    def path(self) -> str:
        """Where the only item stands."""
        return "params" if self in ALONE else "params[0]"

    def one(self, **fields: Any) -> dict[str, Any]:
        """A request with one good item."""
        return self.request(self.params(self.item()), **fields)

    def case(self, name: str, request: Any, code: int, message: str = "", **more: Any) -> Case:
        """A case on this topic, sent by the one whose topic it is."""
        return Case(
            f"{self.name}: {name}",
            more.pop("topic", self.topic),
            request,
            code,
            message,
            sender=more.pop("sender", self.sender),
            **more,
        )

    def stored(self, measurepoint: str = "temp", value: Any = 1.5, device: str = GATEWAY, **more: Any) -> Stored:
        """A point that came on this topic; by default that of the good item."""
        return Stored(device, measurepoint, value, origin=self.origin, **more)


LIVE = Uplink("live", f"/sys/{GATEWAY}/thing/measurepoint/post", "thing.measurepoint.post", GATEWAY, "post")
LIVE_BATCH = Uplink(
    "live batch", f"/sys/{GATEWAY}/thing/measurepoint/post/batch", "thing.measurepoint.post.batch", GATEWAY, "post"
)
RESUME = Uplink("resume", f"/sys/{GATEWAY}/thing/measurepoint/resume", "thing.measurepoint.resume", GATEWAY, "resume")
BATCH = Uplink(
    "batch", f"/sys/{GATEWAY}/thing/measurepoint/resume/batch", "thing.measurepoint.resume.batch", GATEWAY, "resume"
)
POST = Uplink(
    "post",
    f"/sys/{GATEWAYS}/integration/measurepoint/post",
    "integration.measurepoint.post",
    CHANNEL,
    "integration",
)
"""The integration channel's."""
UPLINKS = (RESUME, BATCH, POST, LIVE, LIVE_BATCH)
ALONE = (RESUME, LIVE)
"""The topics whose params are an object: one item."""
BATCHES = (BATCH, LIVE_BATCH)
"""The topics with flags."""
WITH_ITEMS = (*BATCHES, POST)
"""The topics whose params are an array."""


class Place(NamedTuple):
    """Where in a request an item stands: `label` for names of cases, `path` for messages."""

    uplink: Uplink
    label: str
    path: str
    position: int

    def request(self, item: Any, **fields: Any) -> dict[str, Any]:
        """A request with this item here and good ones around it."""
        if self.uplink in ALONE:
            return self.uplink.request(item, **fields)
        items: list[Any] = [self.uplink.item(time=T + index) for index in range(3)]
        items[self.position] = item
        return self.uplink.request(items, **fields)

    def others(self) -> tuple[Stored, ...]:
        """What is stored of the good items."""
        if self.uplink in ALONE:
            return ()
        return tuple(self.uplink.stored(time=T + index) for index in range(3) if index != self.position)


def places(*uplinks: Uplink) -> Iterator[Place]:
    """Each place that an item can have: first, middle and last, where there are several."""
    for uplink in uplinks or UPLINKS:
        if uplink in ALONE:
            yield Place(uplink, "", "params", 0)
        else:
            for index, label in enumerate((" in the first item", " in the middle item", " in the last item")):
                yield Place(uplink, label, f"params[{index}]", index)
