"""What a person may type while the demo serves."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

from enos_ingest.protocol.identity import Channel, Publisher
from enos_ingest.protocol.topics import reply_topic
from scripts.tour.guide import BATCH, INTEGRATION, RESUME, Guide, channel_topic, device_topic
from scripts.tour.plant import DIRECT, OPERATOR, SPARE, now

__all__ = ["show_commands"]

_LINE = 78
"""Commands fit the narrowest usual terminal, so that none of them looks broken there."""


def show_commands(guide: Guide) -> None:
    """Print command lines to paste into another terminal."""
    screen, hub = guide.screen, guide.hub
    screen.heading("Your turn")
    screen.say(
        "Paste these into other terminals. mosquitto_pub, mosquitto_rr and mosquitto_sub are in the package "
        "mosquitto-clients (Debian, Ubuntu) or mosquitto (macOS). A device has one connection, a newer one ends the "
        f"older: so you are {SPARE}, which nobody simulates."
    )
    device = device_topic(SPARE, RESUME)
    by_operator = ["-u", OPERATOR, "-P", guide.plant.operator_password]
    product_key = SPARE.product_key
    temperature = {"measurepoints": {"INV.TempEquipment": 44.5}}
    _paste(guide, "Watch all requests and replies, as the operator", "mosquitto_sub", by_operator, "-t", "/sys/#", "-v")
    _ask(guide, f"Report as {SPARE} and wait for the reply: 200", _as(guide, SPARE), device, RESUME, temperature)
    wrong = {"measurepoints": {"INV.TempEquipment": "warm"}}
    _publish(guide, "The same as the operator, with a wrong value: 1204", by_operator, device, RESUME, wrong)
    items = [{**temperature, "time": now() - seconds * 1000} for seconds in (60, 0)]
    _publish(guide, "A batch of two times", _as(guide, SPARE), device_topic(SPARE, BATCH), BATCH, items)
    posted = [{"deviceKey": SPARE.device_key, "measurepoints": {"INV.APProduction": 18251.5}}]
    channel = _as(guide, Channel(product_key))
    title = f"Report as the channel of {product_key}"
    _publish(guide, title, channel, channel_topic(product_key), INTEGRATION, posted)

    address = (
        f"http://{hub.http}/connect-service/v2.1/commands?action=setMeasurepoint&orgId=default"
        f"&productKey={DIRECT.product_key}&deviceKey={DIRECT.device_key}&measurepointId=INV.State"
    )
    print(f"\n{screen.paint(f'# Set a value of {DIRECT}, as business software', 'bold')}")
    print(f"  curl -H 'Authorization: Bearer {guide.plant.api_key}' -d '{{\"value\": 1}}' \\\n    '{address}'")

    print()
    screen.say("Look around, in the folder of this hub's configuration:")
    print()
    print(f"  cd {shlex.quote(str(hub.folder))}")
    print(f"  PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH")
    print(f"  export ENOS_INGEST_KEY={guide.plant.api_key}")
    for arguments in (
        f"points {DIRECT} --latest",
        f"points {DIRECT} --point INV.TempEquipment --json",
        "quarantine ls",
        "quarantine show 1",
        "registry show",
        "models schema inverter",
        f"credentials {SPARE}",
        f"command set {DIRECT} INV.State 1",
        "command ls",
    ):
        print(f"  enos-ingest {arguments}")
    print(f"  curl http://{hub.http}/readyz")
    print(f"  curl http://{hub.http}/metrics")


def _publish(guide: Guide, title: str, options: list[str], topic: str, method: str, params: Any) -> None:
    """A line for mosquitto_pub."""
    text = _message(guide, method, params)
    _paste(guide, title, "mosquitto_pub", options, "-q", "1", "-t", topic, "-m", text)


def _ask(guide: Guide, title: str, options: list[str], topic: str, method: str, params: Any) -> None:
    """A line for mosquitto_rr, which prints the reply and would speak MQTT 5."""
    text = _message(guide, method, params)
    answered = reply_topic(topic)
    _paste(guide, title, "mosquitto_rr", options, "-V", "311", "-q", "1", "-t", topic, "-e", answered, "-m", text)


def _message(guide: Guide, method: str, params: Any) -> str:
    """A request; it stands on several lines where it is long."""
    message = {"id": str(next(guide.ids)), "version": "1.0", "method": method, "params": params}
    return "\n".join(guide.screen.layout(message, _LINE - 6))


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

    Each call makes another client id: of two connections of a channel with the same one the newer ends the older.
    """
    made = guide.plant.credentials(publisher, now() + next(guide.ids))
    return ["-i", made.client_id, "-u", made.user_name, "-P", made.password]
