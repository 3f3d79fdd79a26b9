"""On which topics a client may publish, looked up once for each registry."""

from __future__ import annotations

from collections.abc import Callable

from enos_ingest.devices.access import may_publish
from enos_ingest.devices.directory import Directory
from enos_ingest.protocol.identity import Channel, DeviceId

__all__ = ["Rights"]

_KEPT_TOPICS = 1000
"""Topics of one client that are kept with what it may do there: more than a gateway's sub-devices have."""


class Rights:
    """What one client may do, as the registry says now."""

    __slots__ = ("_allowed", "_directory", "_identity", "_read")

    def __init__(self, identity: DeviceId | Channel, directory: Callable[[], Directory]) -> None:
        self._identity = identity
        self._read = directory
        self._directory: Directory | None = None
        self._allowed: dict[str, bool] = {}

    def may_publish(self, topic: str) -> bool:
        """Whether a topic is the client's own."""
        directory = self._read()
        if directory is not self._directory or len(self._allowed) >= _KEPT_TOPICS:
            self._directory = directory
            self._allowed = {}
        allowed = self._allowed.get(topic)
        if allowed is None:
            allowed = self._allowed[topic] = may_publish(self._identity, topic, directory)
        return allowed
