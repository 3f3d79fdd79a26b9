"""The topic filters of one device session: what it subscribed to, what it ended."""

from __future__ import annotations

from enos_ingest.protocol.topics import filter_matches

__all__ = ["HIGHEST_QOS", "LONGEST_FILTER", "REFUSED", "Subscriptions", "is_short"]

HIGHEST_QOS = 1
"""What the hub sends with at the most: it sends nothing twice on one connection, so QoS 2 would add nothing."""

REFUSED = 0x80
"""What SUBACK says of a filter that is not granted. [MQTT-3.9.3-2]"""

LONGEST_FILTER = 512
_LEVELS = 32
"""Characters and levels of a filter. The protocol's topics have some 150 and 10; MQTT allows 65 535 of both, which
2000 times over would be memory and time that everybody pays for."""

_WILDCARDS = 100
"""Filters with wildcards that one client may hold, or have ended: each is looked at for each new topic."""


def is_short(topic_filter: str) -> bool:
    """Whether a filter is within what is remembered of one."""
    return len(topic_filter) <= LONGEST_FILTER and topic_filter.count("/") < _LEVELS


class Subscriptions:
    """Which QoS a message to the client goes with, if it goes at all.

    The hub sends without any subscription, as three of the four official SDKs expect. A subscription caps the QoS;
    the end of one (UNSUBSCRIBE, also of what was never subscribed to) silences its topics until they are subscribed
    to again.

    Args:
        limit: how many filters may be held; of ended ones the last so many are remembered.
    """

    __slots__ = ("_ended", "_ended_wildcards", "_held", "_held_wildcards", "_limit", "_qos")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: dict[str, int] = {}
        self._held_wildcards: dict[str, int] = {}
        self._ended: dict[str, None] = {}
        self._ended_wildcards: dict[str, None] = {}
        self._qos: dict[str, int | None] = {}

    def __len__(self) -> int:
        return len(self._held) + len(self._held_wildcards)

    def add(self, topic_filter: str, qos: int) -> bool:
        """Hold a filter, in place of an equal one [MQTT-3.8.4-3]; False where it is too long, or one too many."""
        if not is_short(topic_filter):
            return False
        wild = _is_wild(topic_filter)
        held = self._held_wildcards if wild else self._held
        if topic_filter not in held and (len(self) >= self._limit or (wild and len(held) >= _WILDCARDS)):
            return False
        held[topic_filter] = min(qos, HIGHEST_QOS)
        (self._ended_wildcards if wild else self._ended).pop(topic_filter, None)
        self._qos.clear()
        return True

    def remove(self, topic_filter: str) -> None:
        """Hold a filter no more, and send nothing that only it covers."""
        if not is_short(topic_filter):
            return
        wild = _is_wild(topic_filter)
        (self._held_wildcards if wild else self._held).pop(topic_filter, None)
        ended = self._ended_wildcards if wild else self._ended
        ended.pop(topic_filter, None)
        ended[topic_filter] = None
        if len(ended) > (min(self._limit, _WILDCARDS) if wild else self._limit):
            del ended[next(iter(ended))]
        self._qos.clear()

    def qos(self, topic: str) -> int | None:
        """The highest QoS that a message to a topic may have [MQTT-3.3.5-1]; None where it must not be sent."""
        if not self._held and not self._held_wildcards and not self._ended and not self._ended_wildcards:
            return HIGHEST_QOS
        if topic not in self._qos:
            if len(self._qos) >= self._limit:
                self._qos.clear()
            self._qos[topic] = self._look(topic)
        return self._qos[topic]

    def covers(self, topic: str) -> bool:
        """Whether a filter that is held covers a topic."""
        return topic in self._held or any(filter_matches(each, topic) for each in self._held_wildcards)

    def _look(self, topic: str) -> int | None:
        granted = [qos for topic_filter, qos in self._held_wildcards.items() if filter_matches(topic_filter, topic)]
        if topic in self._held:
            granted.append(self._held[topic])
        if granted:
            return max(granted)
        silent = topic in self._ended or any(filter_matches(ended, topic) for ended in self._ended_wildcards)
        return None if silent else HIGHEST_QOS


def _is_wild(topic_filter: str) -> bool:
    return "+" in topic_filter or "#" in topic_filter
