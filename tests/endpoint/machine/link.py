"""One connection of a device: its wire, its model, its messages."""

from __future__ import annotations

from collections.abc import Callable

from enos_ingest.endpoint.packets import encode_publish
from tests.endpoint.machine.model import Report, Sent, SessionModel
from tests.endpoint.machine.site import SUBSCRIPTIONS, UNACKNOWLEDGED
from tests.endpoint.machine.wire import Wire
from tests.endpoint.raw import PINGREQ

__all__ = ["Link"]


class Link:
    """One connection of the device: its wire, its model, its messages."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.model = SessionModel(unacknowledged=UNACKNOWLEDGED, subscriptions=SUBSCRIPTIONS)
        self.sent: list[Sent] = []
        self.is_finished = False
        """Whether nothing more will be sent, and the hub is to see it."""

    def publish(self, report: Report, qos: int, packet_id: int, serial: int, *, is_again: bool = False) -> Sent | None:
        """Queue a PUBLISH; the message that it is, None where it is none or one that was sent before."""
        first = self.model.unreleased.get(packet_id) if qos == 2 else None
        if first is not None:
            report, is_again = first.report, True
        packet = encode_publish(report.topic, report.payload, qos=qos, packet_id=packet_id if qos else 0)
        self.wire.queue(bytes((packet[0] | 8,)) + packet[1:] if is_again else packet)
        sent = self.model.publish(report, qos, packet_id if qos else 0, serial)
        if sent is not None:
            self.sent.append(sent)
        return sent

    def ping(self) -> None:
        """Queue a PINGREQ."""
        self.wire.queue(PINGREQ)
        self.model.ping()

    def end(self, last: bytes) -> None:
        """Queue what makes the hub close the connection; with nothing to queue it is the end of the stream."""
        if last:
            self.wire.queue(last)
            self.model.end()
        self.is_finished = True
        self.push()

    def push(self) -> None:
        """Hand over what waits, and the end of the stream behind it."""
        self.wire.push()
        if self.is_finished and not self.model.is_over and self.wire.is_empty:
            self.wire.finish()

    def receive(self) -> None:
        """Take what has come, which must be what the model says."""
        for packet in self.wire.packets():
            self.model.receive(packet)

    def receive_until(self, condition: Callable[[], bool]) -> None:
        """Receive until it holds, or the hub has closed the connection."""
        self.receive()
        while not self.wire.is_closed and not condition():
            self.wire.wait()
            self.push()
            self.receive()
