"""A model of one device session: which packets may come next, given what was sent and what has come."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import orjson

from enos_ingest.endpoint.packets import PacketType, Publish
from tests.endpoint.raw import Packet
from tests.endpoint.site import resume_topic

__all__ = ["FILTERS", "NOT_GRANTED", "UNRELATED", "Report", "Sent", "SessionModel"]

_OWN, _OTHER = (f"{resume_topic(device)}_reply" for device in ("alone", "other"))

FILTERS: dict[str, frozenset[str]] = {
    _OWN: frozenset({_OWN}),
    "/sys/+/+/thing/measurepoint/resume_reply": frozenset({_OWN, _OTHER}),
    "/sys/P/alone/#": frozenset({_OWN}),
}
"""Topic filters, and which topics of replies to P/alone they cover."""

UNRELATED = "/sys/P/alone/thing/service/+"
"""One more that is granted, and covers none."""

NOT_GRANTED = "/sys/P/other/#"
"""Another device's."""

_REFUSED = 0x80

_FRAME_BYTES = 350
"""More than a reply is longer than its id: topic, code, reason, headers."""


class Report(NamedTuple):
    """What is published: `code` is that of its reply, None where there is none; accepted is only 200."""

    topic: str
    payload: bytes
    identifier: str
    code: int | None
    time: int = 0
    value: int = 0


@dataclass(eq=False, repr=False, slots=True)
class Sent:
    """A PUBLISH that the hub takes for a message.

    `serial` is its place among all of a run, `position` that among the packets of its connection. `certain` says
    that it is stored, if it is one to be stored.
    """

    report: Report
    qos: int
    packet_id: int
    serial: int
    position: int
    replied: bool = False
    acknowledged: bool = False
    certain: bool = False

    def __repr__(self) -> str:
        report = self.report
        what = f"{report.identifier[:20]!r} to be answered {report.code}, time {report.time}, value {report.value}"
        how = f"QoS {self.qos}, packet id {self.packet_id}, serial {self.serial}, position {self.position}"
        return f"<{what}, {how}{', certain' if self.certain else ''}>"

    @property
    def acknowledgement(self) -> Packet:
        """What ends its answer, where it is not of QoS 0."""
        return _packet(PacketType.PUBACK if self.qos == 1 else PacketType.PUBREC, self.packet_id)


class _Heard(NamedTuple):
    """Subscriptions, and those ended; no more are ended here than the hub remembers."""

    held: tuple[tuple[str, int], ...] = ()
    ended: tuple[str, ...] = ()

    def subscribed(self, topic_filter: str, qos: int, limit: int) -> tuple[_Heard, int]:
        """With one more filter, and what SUBACK says of it."""
        others = tuple(item for item in self.held if item[0] != topic_filter)
        if topic_filter == NOT_GRANTED or len(others) == len(self.held) >= limit:
            return self, _REFUSED
        granted = min(qos, 1)
        return _Heard((*others, (topic_filter, granted)), _without(self.ended, topic_filter)), granted

    def unsubscribed(self, topic_filter: str) -> _Heard:
        """Without a filter."""
        held = tuple(item for item in self.held if item[0] != topic_filter)
        return _Heard(held, (*_without(self.ended, topic_filter), topic_filter))

    def granted(self, topic: str) -> int | None:
        """The highest QoS on a topic, None for silence."""
        found = [qos for topic_filter, qos in self.held if topic in FILTERS.get(topic_filter, ())]
        if found:
            return max(found)
        return None if any(topic in FILTERS[ended] for ended in self.ended) else 1

    def silent(self) -> set[str]:
        """The topics that nothing is sent to."""
        return {topic for topic in (_OWN, _OTHER) if self.granted(topic) is None}


@dataclass(slots=True)
class _Prompt:
    """A packet that comes as soon as the one at `position` is read.

    `heard` are the subscriptions from then on. With `again` it is a second PUBREC of that message, which may come
    only after the first, and does not come at all where the message was not yet stored.
    """

    position: int
    packet: Packet
    heard: _Heard | None = None
    again: Sent | None = None


class SessionModel:
    """What is to come on one connection.

    What is sent is told to `publish` and so on, in the order of sending, and what comes to `receive`, which fails
    where it must not come now. Two rows run side by side: what the hub says at once, and the answers of messages,
    which wait for their commit. Each has an order of its own, and an answer never comes before what was said at once
    of an earlier packet.

    Args:
        unacknowledged, subscriptions: the limits of these names.
    """

    def __init__(self, *, unacknowledged: int, subscriptions: int) -> None:
        self.is_over = False
        """Whether what was sent must make the hub close the connection."""
        self.only_before: int | None = None
        """While the store cannot commit: messages of this serial and later are not answered."""
        self.owed_bytes = 0
        """At least as many as the hub may have sent and were not received."""
        self.unreleased: dict[int, Sent] = {}
        """By packet id, messages of QoS 2 without PUBREL."""
        self._unacknowledged_limit = unacknowledged
        self._subscriptions_limit = subscriptions
        self._position = 1  # behind CONNECT
        self._prompts: deque[_Prompt] = deque()
        self._waiting: deque[Sent] = deque()
        # PUBRECs taken for one that may come, which may as well be the next equal one that must.
        self._doubtful: list[Packet] = []
        self._due: Sent | None = None
        # As of what was sent, and as of what has come.
        self._asked = _Heard()
        self._heard = _Heard()
        # Topics that were silent at any time since the last answer.
        self._silent: set[str] = set()
        # The last position that has been read for sure.
        self._read = 0
        # Replies of QoS 1 by packet id, with the position of our PUBACK.
        self._unacknowledged: dict[int, int | None] = {}

    # What is sent.

    def publish(self, report: Report, qos: int, packet_id: int, serial: int) -> Sent | None:
        """The message that it is; None where it is one that has come before, or one too many."""
        position = self._next()
        first = self.unreleased.get(packet_id) if qos == 2 else None
        if first is not None:
            again = None if first.acknowledged else first
            self._prompt(_Prompt(position, first.acknowledgement, again=again))
            return None
        if qos == 2 and len(self.unreleased) == self._unacknowledged_limit:
            self.is_over = True
            return None
        sent = Sent(report, qos, packet_id, serial, position)
        if qos == 2:
            self.unreleased[packet_id] = sent
        self._waiting.append(sent)
        self.owed_bytes += len(report.identifier) + _FRAME_BYTES
        return sent

    def release(self, packet_id: int) -> None:
        """PUBREL, of what was received or of nothing."""
        self.unreleased.pop(packet_id, None)
        self._prompt(_Prompt(self._next(), _packet(PacketType.PUBCOMP, packet_id)))

    def subscribe(self, packet_id: int, filters: list[str], qos: int) -> None:
        """SUBSCRIBE."""
        codes = []
        for topic_filter in filters:
            self._asked, code = self._asked.subscribed(topic_filter, qos, self._subscriptions_limit)
            codes.append(code)
        self._prompt(_Prompt(self._next(), _packet(PacketType.SUBACK, packet_id, *codes), self._asked))

    def unsubscribe(self, packet_id: int, filters: list[str]) -> None:
        """UNSUBSCRIBE."""
        for topic_filter in filters:
            self._asked = self._asked.unsubscribed(topic_filter)
        self._prompt(_Prompt(self._next(), _packet(PacketType.UNSUBACK, packet_id), self._asked))

    def acknowledge(self, packet_id: int) -> None:
        """PUBACK of a reply, or of nothing."""
        position = self._next()
        if packet_id in self._unacknowledged:
            self._unacknowledged[packet_id] = position

    def ping(self) -> None:
        """PINGREQ."""
        self._prompt(_Prompt(self._next(), Packet(PacketType.PINGRESP << 4, b"")))

    def end(self) -> None:
        """Anything that makes the hub close the connection."""
        self._next()
        self.is_over = True

    # What comes.

    def receive(self, packet: Packet) -> None:
        """Take a packet from the hub; AssertionError where it must not come now."""
        self.owed_bytes -= len(packet.body) + 2
        if self._due is not None:
            assert packet == self._due.acknowledgement, f"{packet} between a reply and its {self._due.acknowledgement}"
        if packet.kind is PacketType.PUBLISH:
            self._receive_reply(packet.publish)
        elif not self._receive_acknowledgement(packet):
            self._receive_prompt(packet)

    @property
    def prompts_missing(self) -> list[object]:
        """What must still be said of packets that are read, whether or not the store commits."""
        return [prompt for prompt in self._prompts if prompt.again is None]

    @property
    def missing(self) -> str:
        """What must still come, "" for nothing."""
        prompts = self.prompts_missing
        waiting = [sent for sent in self._waiting if not self._is_traceless(sent)]
        return f"{prompts} {waiting}" if prompts or waiting else ""

    def pass_over(self) -> None:
        """Nothing more is to come of what was sent so far."""
        assert not self.missing, f"missing: {self.missing}"
        self._prompts.clear()
        self.owed_bytes = 0
        while self._waiting:
            self._waiting.popleft().certain = True

    def replies(self) -> list[int]:
        """The packet ids of replies that were not acknowledged, oldest first."""
        return [packet_id for packet_id, position in self._unacknowledged.items() if position is None]

    def _receive_reply(self, message: Publish) -> None:
        document = orjson.loads(message.payload)
        sent = self._answered(lambda sent: sent.report.identifier == document["id"])
        assert sent is not None, f"not the reply that is next: {message}; waiting: {self._waiting}"
        assert (message.topic, document["code"], document["data"]) == (
            f"{sent.report.topic}_reply", sent.report.code, {},
        )  # fmt: skip
        assert not message.retain
        assert not message.dup
        granted = self._heard.granted(message.topic)
        assert granted is not None, f"sent after UNSUBSCRIBE: {message}"
        self._check_qos(message, min(sent.qos, granted))
        sent.replied = True
        if sent.qos:
            self._due = sent
        else:
            self._done(sent)

    def _check_qos(self, message: Publish, wanted: int) -> None:
        """As wanted; lower only where too many may be unacknowledged, never higher and never with an id in use."""
        open_now = self._unacknowledged
        fewest = self.replies()
        most = [each for each, position in open_now.items() if position is None or position > self._read]
        if message.qos:
            assert message.qos == wanted == 1, f"QoS {message.qos} instead of {wanted}"
            assert message.packet_id not in fewest, f"packet id {message.packet_id} is in use"
            assert len(fewest) < self._unacknowledged_limit, f"one more than {fewest} unacknowledged"
            open_now.pop(message.packet_id, None)
            open_now[message.packet_id] = None
        else:
            assert wanted == 0 or len(most) >= self._unacknowledged_limit, f"QoS 0 with {most} unacknowledged"

    def _receive_acknowledgement(self, packet: Packet) -> bool:
        def is_of(sent: Sent) -> bool:
            topic = f"{sent.report.topic}_reply"
            has_reply = sent.report.code is not None and self._heard.granted(topic) is not None
            first = next((prompt for prompt in self._prompts if prompt.again is None), None)
            early = first is not None and first.position < sent.position and first.packet not in self._doubtful
            return bool(sent.qos) and packet == sent.acknowledgement and (sent.replied or not has_reply) and not early

        sent = self._answered(is_of)
        if sent is None:
            return False
        sent.acknowledged = True
        self._due = None
        self._done(sent)
        return True

    def _receive_prompt(self, packet: Packet) -> None:
        while self._prompts:
            prompt = self._prompts.popleft()
            if packet == prompt.packet and (prompt.again is None or prompt.again.acknowledged):
                self._come(prompt)
                return
            assert self._is_past(prompt), f"{packet} instead of {prompt} or an answer to one of {self._waiting}"
        raise AssertionError(f"{packet} without a cause; waiting: {self._waiting}")

    def _come(self, prompt: _Prompt) -> None:
        self._read = max(self._read, prompt.position)
        if prompt.again is not None:
            self._doubtful.append(prompt.packet)
            return
        self._doubtful.clear()
        if prompt.heard is not None:
            self._heard = prompt.heard
            self._silent |= prompt.heard.silent()

    def _is_past(self, prompt: _Prompt) -> bool:
        """Whether it may not come any more, because it need not, or because it has come."""
        if prompt.again is not None:
            return True
        if prompt.packet not in self._doubtful:
            return False
        self._doubtful.remove(prompt.packet)
        return True

    def _answered(self, matches: Callable[[Sent], bool]) -> Sent | None:
        """The message at the head of those that wait, once those are passed over that leave no trace."""
        for index, sent in enumerate(self._waiting):
            if matches(sent):
                for _ in range(index):
                    self._waiting.popleft().certain = True
                self._check_time(sent)
                return sent
            if not self._is_traceless(sent):
                break
        return None

    def _check_time(self, sent: Sent) -> None:
        """An answer comes after what was said of earlier packets, and not while the store is down.

        What asks for nothing has nothing to be stored: with nothing before it, it is acknowledged all the same.
        """
        is_before = self.only_before is None or sent.serial < self.only_before
        assert is_before or sent.report.code is None, f"answered while the store is down: {sent}"
        while self._prompts and self._prompts[0].position < sent.position:
            prompt = self._prompts.popleft()
            assert self._is_past(prompt), f"an answer to {sent} instead of {prompt}"
        self._read = max(self._read, sent.position)

    def _done(self, sent: Sent) -> None:
        assert self._waiting.popleft() is sent
        sent.certain = True
        self._silent = self._heard.silent()

    def _is_traceless(self, sent: Sent) -> bool:
        """Whether its answer may be nothing."""
        return not sent.qos and (sent.report.code is None or f"{sent.report.topic}_reply" in self._silent)

    def _next(self) -> int:
        self._position += 1
        return self._position - 1

    def _prompt(self, prompt: _Prompt) -> None:
        self._prompts.append(prompt)
        self.owed_bytes += len(prompt.packet.body) + 2


def _packet(kind: PacketType, packet_id: int, *codes: int) -> Packet:
    return Packet(kind << 4, packet_id.to_bytes(2) + bytes(codes))


def _without(filters: tuple[str, ...], topic_filter: str) -> tuple[str, ...]:
    return tuple(each for each in filters if each != topic_filter)
