"""What a route is: a topic, a schema, the codes of its faults, a handler."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from enos_ingest.devices.changes import Change, FactsWanted
from enos_ingest.devices.directory import Directory
from enos_ingest.devices.presence import Presence
from enos_ingest.models.validator import CompiledModel
from enos_ingest.outcome import Point
from enos_ingest.protocol.codes import Code
from enos_ingest.protocol.identity import DeviceId, Publisher
from enos_ingest.protocol.topics import Family, Topic
from enos_ingest.schema import Schema, load_schema

__all__ = ["Accepted", "FaultCodes", "ModelSource", "Refusal", "Request", "Route", "World"]


class Refusal(Exception):  # noqa: N818 - an answer, not an error
    """A request is declined: the code and the words of the reply; its data, where not that of the route's refusals."""

    def __init__(self, code: Code, reason: str, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.data = data


@dataclass(frozen=True, slots=True)
class FaultCodes:
    """Which code answers a payload that is empty, no JSON, of another method, of a wrong shape."""

    empty: Code
    unreadable: Code
    method: Code
    shape: Code


@dataclass(slots=True)
class Request:
    """A request whose envelope has been checked; `received` is epoch milliseconds.

    `is_direct` says whether it came on the publisher's own connection: what answers any other, operators can read.
    """

    topic: Topic
    publisher: Publisher
    document: dict[str, Any]
    received: int
    is_direct: bool = True


class ModelSource(Protocol):
    """Where thing models are looked up by modelId."""

    def get(self, model_id: str) -> CompiledModel | None: ...


@dataclass(frozen=True, slots=True)
class World:
    """What a handler may look at, and the presence that a login changes; made anew with each directory."""

    directory: Directory
    models: ModelSource
    presence: Presence
    max_future_seconds: float
    sub_devices_per_gateway: int


class Accepted:
    """What a handler grants: points to store, and what goes into the reply beside code 200.

    Attributes:
        points: to be filled in.
        skipped: how many points `skipInvalidMeasurepoints` left out.
        reasons: why, of the first few.
        data: what the reply holds, an object or a list; None stands for `{}`.
        activated: the devices whose first login this is.
        changes: what else is to be stored; those of the registry hold for the next message.
        wanted: what the store is asked for; it becomes the reply's data, unless `settle` is there to judge it: whether
            the store has done what `changes` ask for, None if so.
        code, message: of a reply that grants a part of the request only.
    """

    __slots__ = ("activated", "changes", "code", "data", "message", "points", "reasons", "settle", "skipped", "wanted")

    def __init__(
        self,
        data: Any = None,
        activated: tuple[DeviceId, ...] = (),
        *,
        changes: tuple[Change, ...] = (),
        wanted: FactsWanted | None = None,
        settle: Callable[[Mapping[str, Any]], Refusal | None] | None = None,
        code: Code = Code.SUCCESS,
        message: str = "",
    ) -> None:
        self.points: list[Point] = []
        self.skipped = 0
        self.reasons: list[str] = []
        self.data = data
        self.activated = activated
        self.changes = changes
        self.wanted = wanted
        self.settle = settle
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Route:
    """One kind of request.

    Args:
        family, action: the topic, see `protocol.topics`; `kind` is both. A level `+` of the action is any name.
        envelope: the name of its JSON Schema below `schemas/envelopes/`.
        codes: what answers a payload that is no such request.
        handle: grants the request, or raises `Refusal`.
        refused: the data of a reply that refuses; None stands for `{}`.
    """

    family: Family
    action: str
    envelope: str
    codes: FaultCodes
    handle: Callable[[Request, World], Accepted]
    refused: Any = None
    schema: Schema = field(init=False, repr=False)
    name: str = field(init=False)
    """What metrics call it."""

    @property
    def kind(self) -> str:
        """As in `Topic.kind`."""
        return f"{self.family.value}/{self.action}"

    def __post_init__(self) -> None:
        name = f"integration/{self.action}" if self.family is Family.INTEGRATION else self.action
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "schema", Schema(load_schema(f"envelopes/{self.envelope}")))
