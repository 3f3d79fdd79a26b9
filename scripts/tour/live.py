"""After the tour: the plant reports by itself until somebody stops it."""

from __future__ import annotations

from datetime import datetime

from scripts.tour.device import Reply
from scripts.tour.guide import BATCH, RESUME, Guide, device_topic
from scripts.tour.plant import BATTERY, DIRECT, GATEWAY, INVERTER, measure, now

__all__ = ["report_until_stopped"]


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
        when = now()
        batch = [
            {"productKey": device.product_key, "deviceKey": device.device_key, "measurepoints": values, "time": when}
            for device, values in ((device, measure(device, when)) for device in (GATEWAY, INVERTER, BATTERY))
        ]
        points = measure(DIRECT, when)
        many = guide.report(GATEWAY, device_topic(GATEWAY, BATCH), BATCH, batch)
        one = guide.report(DIRECT, device_topic(DIRECT, RESUME), RESUME, {"measurepoints": points, "time": when})
        clock = datetime.fromtimestamp(when / 1000).astimezone().strftime("%H:%M:%S")
        power = points["INV.GenActivePW"]["value"]
        print(
            f"  {clock}  {GATEWAY.device_key}: {len(batch)} devices, {_answer(many)}   "
            f"{DIRECT.device_key}: {power} kW, {_answer(one)}"
        )
        guide.stop.wait(seconds)


def _answer(reply: Reply) -> str:
    return f"{reply.code} in {reply.milliseconds:.0f} ms"
