"""What was sent to a hub, and what may be, must be and must not be stored of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tests.endpoint.machine.model import Sent

__all__ = ["Ledger"]


class Ledger:
    """All messages of one run, over all its connections, in the order of sending.

    Each value and each id is that of one message, and of what is sent again. Of one time the last accepted value is
    stored; a refused message is in quarantine, as often as it was sent.
    """

    def __init__(self) -> None:
        self._sent: list[Sent] = []

    def add(self, sent: Sent) -> None:
        """Note a message."""
        self._sent.append(sent)

    def forget(self, never: Iterable[Sent]) -> None:
        """Take messages out that cannot have arrived."""
        gone = set(map(id, never))
        self._sent = [sent for sent in self._sent if id(sent) not in gone]

    def check(self, stored: Mapping[int, int], rejected: Mapping[str, int]) -> None:
        """Compare with the database: stored values by time, quarantine entries by id of the message.

        What is certain is there, and nothing is there that was not sent.
        """
        times, refused = self._accepted(), self._refused()
        assert stored.keys() <= times.keys(), f"never sent: {stored.keys() - times.keys()}"
        assert rejected.keys() <= refused.keys(), f"never refused: {rejected.keys() - refused.keys()}"
        for time, messages in times.items():
            last = max((index for index, sent in enumerate(messages) if sent.certain), default=-1)
            possible = [sent.report.value for sent in messages[max(last, 0) :]]
            found = stored.get(time)
            assert found in possible or (found is None and last < 0), f"time {time}: {found}, not one of {messages}"
        for identifier, messages in refused.items():
            found = rejected.get(identifier, 0)
            certain = sum(sent.certain for sent in messages)
            assert certain <= found <= len(messages), f"{found} in quarantine of {messages}"

    def check_order(self, connection: Iterable[Sent], stored: Mapping[int, int], rejected: Mapping[str, int]) -> None:
        """Of an ended connection: nothing is there that was sent after what is not there."""
        mine = set(map(id, connection))
        there, not_there = self._traces(stored, rejected)
        first = min((sent.position for sent in not_there if id(sent) in mine), default=None)
        last = max((sent.position for sent in there if id(sent) in mine), default=None)
        assert first is None or last is None or last < first, f"packet {last} is stored, packet {first} is not"

    def settle(self, stored: Mapping[int, int], rejected: Mapping[str, int]) -> None:
        """Nothing is on its way any more: keep what is there, and nothing else."""
        kept: set[int] = set()
        for time, messages in self._accepted().items():
            kept.update(id(sent) for sent in _last_of(messages, stored.get(time)))
        for identifier, messages in self._refused().items():
            kept.update(map(id, messages[: rejected.get(identifier, 0)]))
        self._sent = [sent for sent in self._sent if id(sent) in kept]
        for sent in self._sent:
            sent.certain = True

    def _traces(self, stored: Mapping[int, int], rejected: Mapping[str, int]) -> tuple[list[Sent], list[Sent]]:
        """The messages that must have been stored, and those that cannot have been, to leave what is there."""
        there, not_there = [], []
        for time, messages in self._accepted().items():
            found = [sent for sent in messages if sent.report.value == stored.get(time)]
            if len(found) == 1:
                there.append(found[0])
            last = messages.index(found[-1]) if found else -1
            not_there += messages[last + 1 :]
        for identifier, messages in self._refused().items():
            if rejected.get(identifier, 0) == len(messages):
                there += messages
            elif identifier not in rejected:
                not_there += messages
        return there, not_there

    def _accepted(self) -> dict[int, list[Sent]]:
        """By time."""
        found: dict[int, list[Sent]] = {}
        for sent in self._sent:
            if sent.report.code == 200:
                found.setdefault(sent.report.time, []).append(sent)
        return found

    def _refused(self) -> dict[str, list[Sent]]:
        """By id."""
        found: dict[str, list[Sent]] = {}
        for sent in self._sent:
            if sent.report.code not in (200, None):
                found.setdefault(sent.report.identifier, []).append(sent)
        return found


def _last_of(messages: list[Sent], value: int | None) -> list[Sent]:
    return [sent for sent in messages if sent.report.value == value][-1:]
