"""What a person may type while the demo serves."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

from enos_ingest.protocol.identity import Channel, Publisher
from scripts.tour.guide import BATCH, INTEGRATION, RESUME, Guide, channel_topic, device_topic
from scripts.tour.plant import BATTERY, DIRECT, GATEWAY, OPERATOR, now

__all__ = ["show_commands"]

_LINE = 78
"""Commands fit the narrowest usual terminal, so that none of them looks broken there."""


def show_commands(guide: Guide) -> None:
    """Print command lines to paste into another terminal."""
    screen, hub = guide.screen, guide.hub
    screen.heading("Your turn")
    screen.say(
        "Paste these into other terminals. mosquitto_pub and mosquitto_sub are in the package mosquitto-clients "
        "(Debian, Ubuntu) or mosquitto (macOS)."
    )
    device = device_topic(DIRECT, RESUME)
    by_operator = ["-u", OPERATOR, "-P", guide.plant.operator_password]
    product_key = DIRECT.product_key
    temperature = {"measurepoints": {"INV.TempEquipment": 44.5}}
    _paste(guide, "Watch all requests and replies, as the operator", "mosquitto_sub", by_operator, "-t", "/sys/#", "-v")
    _paste(guide, f"Wait for the replies to {DIRECT}", "mosquitto_sub", _as(guide, DIRECT), "-t", f"{device}_reply")
    _publish(guide, f"Report as {DIRECT}: 200", _as(guide, DIRECT), device, RESUME, temperature)
    wrong = {"measurepoints": {"INV.TempEquipment": "warm"}}
    _publish(guide, "The same as the operator, with a wrong value: 1204", by_operator, device, RESUME, wrong)
    battery = {"productKey": BATTERY.product_key, "deviceKey": BATTERY.device_key, "measurepoints": {"BAT.SOC": 61.5}}
    items = [{"measurepoints": {"GW.DoorOpen": True}}, battery]
    _publish(guide, "A batch as the gateway", _as(guide, GATEWAY), device_topic(GATEWAY, BATCH), BATCH, items)
    posted = [{"deviceKey": DIRECT.device_key, "measurepoints": {"INV.APProduction": 18251.5}}]
    channel = _as(guide, Channel(product_key))
    title = f"Report as the channel of {product_key}"
    _publish(guide, title, channel, channel_topic(product_key), INTEGRATION, posted)

    print()
    screen.say("Look around, in the folder of this hub's configuration:")
    print()
    print(f"  cd {shlex.quote(str(hub.folder))}")
    print(f"  PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH")
    for arguments in (
        f"points {DIRECT} --latest",
        f"points {DIRECT} --point INV.TempEquipment --json",
        "quarantine ls",
        "quarantine show 1",
        "registry show",
        "models schema inverter",
        f"credentials {DIRECT}",
    ):
        print(f"  enos-ingest {arguments}")
    print(f"  curl http://{hub.http}/readyz")
    print(f"  curl http://{hub.http}/metrics")


def _publish(guide: Guide, title: str, options: list[str], topic: str, method: str, params: Any) -> None:
    """A line for mosquitto_pub; the message stands on several lines where it is long."""
    message = {"id": str(next(guide.ids)), "version": "1.0", "method": method, "params": params}
    text = "\n".join(guide.screen.layout(message, _LINE - 6))
    _paste(guide, title, "mosquitto_pub", options, "-q", "1", "-t", topic, "-m", text)


def _paste(guide: Guide, title: str, program: str, options: list[str], *more: str) -> None:
    """A command, broken between options where it is long, quoted for a shell."""
    address = ["-h", guide.hub.mqtt.host, "-p", str(guide.hub.mqtt.port)]
    words = [shlex.quote(word) for word in (*address, *options, *more)]
    lines = [f"  {program}"]
    for part in _options(words):
        # A part of several lines is as wide as its first.
        if len(lines[-1]) + len(part.partition("\n")[0]) + 3 > _LINE:
            lines[-1] += " \\"
            lines.append(f"    {part}")
        else:
            lines[-1] += f" {part}"
    print(f"\n{guide.screen.paint(f'# {title}', 'bold')}")
    print("\n".join(lines))


def _options(words: list[str]) -> list[str]:
    """Each option with its value."""
    parts: list[str] = []
    for word in words:
        if word.startswith("-"):
            parts.append(word)
        else:
            parts[-1] += f" {word}"
    return parts


def _as(guide: Guide, publisher: Publisher) -> list[str]:
    """The options that make mosquitto's tools a device.

    Each call makes another client id: of two connections with the same one the newer takes the older's place.
    """
    made = guide.plant.credentials(publisher, now() + next(guide.ids))
    return ["-i", made.client_id, "-u", made.user_name, "-P", made.password]
