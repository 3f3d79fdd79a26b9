"""What devices send and are answered, shown to operators who subscribed to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from enos_ingest.endpoint.packets import encode_publish

__all__ = ["Mirror", "Watcher"]


_KEPT_TOPICS = 10_000
"""Topics whose watchers are remembered: to compare each message with each filter of each operator would cost more than
all that is done with it."""


class Watcher(Protocol):
    """An operator's connection, seen from here."""

    def watches(self, topic: str) -> bool:
        """Whether one of its filters covers a topic."""
        ...

    def show(self, packet: bytes) -> bool:
        """Send it a packet; False where it reads too slowly to take any more."""
        ...


class Mirror:
    """Hands copies to operators directly, past the embedded broker.

    So what is mirrored cannot reach the pipeline again, and while nobody watches it costs one look at `watched`. A
    watcher who reads too slowly misses messages, which are counted, and holds up nobody.

    Args:
        dropped: told of each copy that was not sent.
    """

    __slots__ = ("_by_topic", "_dropped", "_watchers", "watched")

    def __init__(self, dropped: Callable[[], None]) -> None:
        self.watched = False
        """Whether anybody watches."""
        self._watchers: set[Watcher] = set()
        self._by_topic: dict[str, list[Watcher]] = {}
        self._dropped = dropped

    def watch(self, watcher: Watcher, *, wanted: bool) -> None:
        """Note that a connection's filters have changed, and whether it holds any."""
        if wanted:
            self._watchers.add(watcher)
        else:
            self._watchers.discard(watcher)
        self.watched = bool(self._watchers)
        self._by_topic.clear()

    def show(self, topic: str, payload: bytes) -> None:
        """Show one message to those who watch its topic, with QoS 0."""
        watchers = self._by_topic.get(topic)
        if watchers is None:
            if len(self._by_topic) >= _KEPT_TOPICS:
                self._by_topic.clear()
            watchers = self._by_topic[topic] = [watcher for watcher in self._watchers if watcher.watches(topic)]
        if watchers:
            packet = encode_publish(topic, payload)
            for watcher in watchers:
                if not watcher.show(packet):
                    self._dropped()
