"""After the tour: the plant reports by itself until somebody stops it."""

from __future__ import annotations

from datetime import datetime

from scripts.tour.device import ConnectionEndedError, Reply
from scripts.tour.guide import BATCH, RESUME, Guide, device_topic, session_topic
from scripts.tour.plant import BATTERY, DIRECT, GATEWAY, INVERTER, measure, now

__all__ = ["report_until_stopped"]

_ONLINE = (INVERTER, BATTERY)
"""The sub-devices that report through the gateway."""


def report_until_stopped(guide: Guide, seconds: float) -> None:
    """Report every few seconds, one line each time.

    Raises:
        Stopped: somebody asked for it; nothing else ends this.
        NoReplyError: the hub is gone.
    """
    guide.screen.heading("Live")
    guide.screen.say(f"The plant reports every {seconds:g} seconds. Ctrl-C ends the demo.")
    print()
    while True:
        try:
            print(_report(guide))
        except ConnectionEndedError:
            guide.screen.say("The hub has ended a connection: a newer one of the same device takes its place. Again:")
            _connect_again(guide)
        guide.stop.wait(seconds)


def _report(guide: Guide) -> str:
    """Report once, and say it in a line."""
    when = now()
    batch = [
        {"productKey": device.product_key, "deviceKey": device.device_key, "measurepoints": values, "time": when}
        for device, values in ((device, measure(device, when)) for device in (GATEWAY, *_ONLINE))
    ]
    points = measure(DIRECT, when)
    many = guide.report(GATEWAY, device_topic(GATEWAY, BATCH), BATCH, batch)
    one = guide.report(DIRECT, device_topic(DIRECT, RESUME), RESUME, {"measurepoints": points, "time": when})
    clock = datetime.fromtimestamp(when / 1000).astimezone().strftime("%H:%M:%S")
    power = points["INV.GenActivePW"]["value"]
    return (
        f"  {clock}  {GATEWAY.device_key}: {len(batch)} devices, {_answer(many)}   "
        f"{DIRECT.device_key}: {power} kW, {_answer(one)}"
    )


def _connect_again(guide: Guide) -> None:
    """Connect the devices that report, and log in the sub-devices, which are offline without their gateway."""
    for device in (GATEWAY, DIRECT):
        guide.connect(device)
    for sub_device in _ONLINE:
        guide.report(GATEWAY, session_topic(GATEWAY, "combine.login"), "combine.login", guide.login_params(sub_device))


def _answer(reply: Reply) -> str:
    return f"{reply.code} in {reply.milliseconds:.0f} ms"
