"""What a command is: a value or a service call that business software sends to a device, and how far it has come.

A command is `CREATED`, then `RELEASED` once it is sent, then answered (`SUCCESS`, `FAILED`) or not (`TIMED_OUT`); one
that is never sent ends as `CANCELED` or `EXPIRED`. Each step is stored before it has an effect: a command is on disk
as `RELEASED` before its packet leaves, so that no crash can send it twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from enos_ingest.protocol.identity import DeviceId

__all__ = ["Command", "Kind", "State"]


class State(IntEnum):
    """The states that EnOS documents, by their numbers."""

    CREATED = 1
    CANCELED = 2
    EXPIRED = 3
    RELEASED = 4
    SUCCESS = 5
    FAILED = 6
    TIMED_OUT = 7

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen."""
        return self not in {State.CREATED, State.RELEASED}


class Kind(IntEnum):
    """`commandType` of the REST API."""

    SET_MEASUREPOINT = 1
    INVOKE_SERVICE = 2


@dataclass(frozen=True, slots=True)
class Command:
    """One command; a later state is another object (`dataclasses.replace`). Times are epoch milliseconds.

    Attributes:
        id: 18 decimal digits, greater for a later command; also the `id` of the MQTT message.
        identifier: the measurement point or service of the thing model.
        input: the value that is set, or the service's `inputData`, as JSON.
        topic, payload: what goes to the device, made when the command was: the codec of a product refuses then.
        timeout: seconds; of an instant command from its creation, of a cached one from its sending.
        pending_ttl: seconds that it may wait for its device; 0 makes it an instant command.
        application: the name of the application that asked.
        sent: when it became `RELEASED`, None before.
        finished: when it became final, None before.
        output: the answer's `data` for a service call, None for others and before.
        device_code, device_message: the device's words where it answered with an error.
        name: what the thing model called the point or service when the command was made, as a StringI18n
            (`{"defaultValue": "...", "i18nValue": {"en_US": "..."}}`); None where it had no name.
    """

    id: str
    device: DeviceId
    kind: Kind
    identifier: str
    input: Any
    topic: str
    payload: bytes
    timeout: int
    pending_ttl: int
    created: int
    application: str
    state: State = State.CREATED
    sent: int | None = None
    finished: int | None = None
    output: Any = None
    device_code: int | None = None
    device_message: str = ""
    name: dict[str, Any] | None = None

    @property
    def is_cached(self) -> bool:
        """Whether it waits for a device that is offline."""
        return self.pending_ttl > 0

    @property
    def expires(self) -> int:
        """When it ends unless it has been sent by then."""
        return self.created + 1000 * (self.pending_ttl or self.timeout)
