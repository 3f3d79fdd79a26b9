"""One request and its reply, shown; and the count of what was seen."""

from __future__ import annotations

import itertools
import json
import shlex
from collections import Counter
from typing import Any

from enos_ingest.protocol.credentials import sign
from enos_ingest.protocol.identity import DeviceId, Publisher
from scripts.tour.device import Device, Reply
from scripts.tour.hub import Hub
from scripts.tour.plant import Plant, now, perform
from scripts.tour.screen import Screen
from scripts.tour.stop import Stop

__all__ = ["BATCH", "CODES", "INTEGRATION", "RESUME", "Guide", "channel_topic", "device_topic", "session_topic"]

RESUME = "thing.measurepoint.resume"
BATCH = "thing.measurepoint.resume.batch"
INTEGRATION = "integration.measurepoint.post"
CODES = {
    200: "stored",
    1204: "a value that the model does not allow",
    1206: "a message of a wrong format",
    1212: "not allowed to report, or offline",
    1257: "no such device",
}


def device_topic(device: DeviceId, method: str) -> str:
    """Where a device sends a request of a method."""
    return f"/sys/{device.product_key}/{device.device_key}/{method.replace('.', '/')}"


def session_topic(gateway: DeviceId, method: str) -> str:
    """Where a gateway logs its sub-devices in and out."""
    return f"/ext/session/{gateway.product_key}/{gateway.device_key}/{method.replace('.', '/')}"


def channel_topic(product_key: str) -> str:
    """Where a product's integration channel reports."""
    return f"/sys/{product_key}/integration/measurepoint/post"


class Guide:
    """Leads through the tour: connects devices, sends what they say, shows what they are answered."""

    def __init__(self, screen: Screen, hub: Hub, plant: Plant, stop: Stop) -> None:
        self.screen = screen
        self.hub = hub
        self.plant = plant
        self.seen: Counter[tuple[str, int]] = Counter()
        self.surprises = 0
        """How many replies were not what the tour says."""
        self.ids = itertools.count(1)
        self.stop = stop
        self._devices: dict[Publisher, Device] = {}

    def connect(self, publisher: Publisher) -> Device:
        """Connect a device or channel; the connection lasts until `close`, or the next of the same."""
        self.stop.check()
        if publisher in self._devices:
            self._devices.pop(publisher).close()
        device = Device(self.hub.mqtt, self.plant.credentials(publisher, now()), perform)
        self._devices[publisher] = device
        return device

    def close(self) -> None:
        """End all connections."""
        while self._devices:
            self._devices.popitem()[1].close()

    def ask(
        self, who: Publisher, title: str, topic: str, method: str, params: Any, *, expect: int = 200, **fields: Any
    ) -> Reply:
        """Send a request in somebody's name; show it with its reply."""
        request = {"id": str(next(self.ids)), "version": "1.0", "method": method, **fields, "params": params}
        return self._exchange(who, title, topic, method, json.dumps(request).encode(), expect, request)

    def ask_raw(self, who: Publisher, title: str, topic: str, method: str, payload: bytes, *, expect: int) -> Reply:
        """Send bytes that are no request."""
        return self._exchange(who, title, topic, method, payload, expect, None)

    def command(self, device: Publisher | None, title: str, *arguments: str, code: int = 0) -> None:
        """Send a command from the shell; show it, what the device gets and answers, and what the shell is told.

        Args:
            device: whose connection the command goes out on, None where it does not go out.
            code: the exit code that there should be.
        """
        self.stop.check()
        screen = self.screen
        ended, printed = self.hub.call("command", *arguments)
        colour = "green" if ended == 0 else "yellow"
        print(f"\n  {screen.paint(title, colour)}")
        screen.say_typed(f"enos-ingest command {shlex.join(arguments)}")
        if device is not None and self._devices[device].done:
            exchange = self._devices[device].done.pop()
            print(f"     {screen.paint(exchange.topic, 'dim')}")
            screen.json(exchange.command, f"   {screen.received} ")
            screen.json(exchange.answer, f"   {screen.sent} ")
        screen.lines(printed)
        if ended != code:
            self.surprises += 1
            print(screen.paint(f"     This should have ended with {code}.", "red"))

    def report(self, who: Publisher, topic: str, method: str, params: Any) -> Reply:
        """Send a request without showing it."""
        device = self._devices[who]
        request = {"id": str(next(self.ids)), "version": "1.0", "method": method, "params": params}
        return device.ask(topic, json.dumps(request).encode())

    def login_params(self, sub_device: DeviceId) -> dict[str, str]:
        """What a gateway sends to log a sub-device in: signed with the sub-device's own secret."""
        product_key, device_key = sub_device
        stamp = str(now())
        content = f"clientId{device_key}deviceKey{device_key}productKey{product_key}timestamp{stamp}"
        return {
            "productKey": product_key,
            "deviceKey": device_key,
            "clientId": device_key,
            "timestamp": stamp,
            "signMethod": "sha256",
            "sign": sign(self.plant.device_secrets[sub_device], content),
        }

    def _exchange(
        self,
        who: Publisher,
        title: str,
        topic: str,
        method: str,
        payload: bytes,
        expect: int,
        request: dict[str, Any] | None,
    ) -> Reply:
        self.stop.check()
        reply = self._devices[who].ask(topic, payload)
        self.seen[method, reply.code] += 1
        screen = self.screen
        code = screen.paint(f"{reply.code:<4}", "green" if reply.code == 200 else "yellow")
        print(f"\n{code} {screen.paint(title, 'bold')}  {screen.paint(str(who), 'dim')}")
        print(f"     {screen.paint(topic, 'dim')}")
        if request is None:
            print(f"   {screen.sent} {payload.decode('utf-8', 'replace')}")
        else:
            screen.json(_shortened(request), f"   {screen.sent} ")
        screen.json(reply.document, f"   {screen.received} ")
        if reply.code != expect:
            self.surprises += 1
            print(screen.paint(f"     This should have been {expect}.", "red"))
        return reply


def _shortened(request: dict[str, Any]) -> dict[str, Any]:
    """The request with a signature cut short: all of it would not fit a line, and nobody reads it."""
    params = request["params"]
    if "sign" not in params:
        return request
    return {**request, "params": {**params, "sign": f"{params['sign'][:16]}..."}}
