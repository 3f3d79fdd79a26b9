"""The topic filters of one device session: what it subscribed to, what it ended."""

from __future__ import annotations

from enos_ingest.protocol.topics import filter_matches

__all__ = ["HIGHEST_QOS", "REFUSED", "Subscriptions"]

HIGHEST_QOS = 1
"""What the hub sends with at the most: it sends nothing twice on one connection, so QoS 2 would add nothing."""

REFUSED = 0x80
"""What SUBACK says of a filter that is not granted. [MQTT-3.9.3-2]"""


class Subscriptions:
    """Which QoS a message to the client goes with, if it goes at all.

    The hub sends without any subscription, as three of the four official SDKs expect. A subscription caps the QoS;
    the end of one (UNSUBSCRIBE, also of what was never subscribed to) silences its topics until they are subscribed
    to again.

    Args:
        limit: how many filters may be held; of ended ones the last so many are remembered.
    """

    __slots__ = ("_ended", "_held", "_limit", "_qos")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: dict[str, int] = {}
        self._ended: dict[str, None] = {}
        self._qos: dict[str, int | None] = {}

    def __len__(self) -> int:
        return len(self._held)

    def add(self, topic_filter: str, qos: int) -> bool:
        """Hold a filter, in place of an equal one [MQTT-3.8.4-3]; False where too many are held."""
        if topic_filter not in self._held and len(self._held) >= self._limit:
            return False
        self._held[topic_filter] = min(qos, HIGHEST_QOS)
        self._ended.pop(topic_filter, None)
        self._qos.clear()
        return True

    def remove(self, topic_filter: str) -> None:
        """Hold a filter no more, and send nothing that only it covers."""
        self._held.pop(topic_filter, None)
        self._ended.pop(topic_filter, None)
        self._ended[topic_filter] = None
        if len(self._ended) > self._limit:
            del self._ended[next(iter(self._ended))]
        self._qos.clear()

    def qos(self, topic: str) -> int | None:
        """The highest QoS that a message to a topic may have [MQTT-3.3.5-1]; None where it must not be sent."""
        if not self._held and not self._ended:
            return HIGHEST_QOS
        if topic not in self._qos:
            if len(self._qos) >= self._limit:
                self._qos.clear()
            self._qos[topic] = self._look(topic)
        return self._qos[topic]

    def _look(self, topic: str) -> int | None:
        granted = [qos for topic_filter, qos in self._held.items() if filter_matches(topic_filter, topic)]
        if granted:
            return max(granted)
        return None if any(filter_matches(ended, topic) for ended in self._ended) else HIGHEST_QOS
