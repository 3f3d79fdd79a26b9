"""The tour, chapter by chapter."""

from __future__ import annotations

from enos_ingest.protocol.identity import Channel
from scripts.tour.device import ConnectRefusedError, Device
from scripts.tour.guide import BATCH, CODES, INTEGRATION, RESUME, Guide, channel_topic, device_topic, session_topic
from scripts.tour.plant import BATTERY, DIRECT, GATEWAY, INVERTER, OFFLINE, UNKNOWN, measure, now, perform

__all__ = ["codes", "commands", "connect", "integration", "resume", "resume_batch", "stored", "sub_devices"]

_CHANNEL = Channel(INVERTER.product_key)


def connect(guide: Guide) -> None:
    """Devices connect, and one that lies is refused."""
    screen = guide.screen
    screen.heading("2. Devices connect")
    screen.say(
        "A device names itself in the MQTT user name and signs with its secret, as the official EnOS device SDKs do. "
        "The secret itself never travels."
    )
    print()
    made = guide.plant.credentials(GATEWAY, now())
    guide.connect(GATEWAY)
    for name, value in (
        ("client id", made.client_id),
        ("user name", made.user_name),
        ("password", f"{made.password[:16]}... (SHA-256 over these and the secret)"),
    ):
        print(f"     {name:<10} {value}")
    print()
    print(f"{screen.paint('  ok', 'green')} {GATEWAY}, a gateway")
    guide.connect(DIRECT)
    print(f"{screen.paint('  ok', 'green')} {DIRECT}, an inverter with a connection of its own")
    forged = guide.plant.credentials(DIRECT, now() + 1)
    try:
        Device(guide.hub.mqtt, type(forged)(forged.client_id, forged.user_name, "0" * 64), perform).close()
    except ConnectRefusedError as refused:
        print(f"{screen.paint('  no', 'yellow')} {DIRECT} with a wrong signature: {str(refused).lower()}")
    else:
        guide.surprises += 1
        print(screen.paint(f"     {DIRECT} with a wrong signature should have been refused.", "red"))


def resume(guide: Guide) -> None:
    """One device, one time."""
    guide.screen.heading(f"3. One device reports: {RESUME}")
    guide.screen.say(
        "Each message is checked against the thing model of the device's product, stored, and only then answered, on "
        "the same topic with _reply behind it. Code 200 means: committed to disk."
    )
    topic = device_topic(DIRECT, RESUME)
    when = now()
    points = {"measurepoints": measure(DIRECT, when), "time": when}
    guide.ask(DIRECT, "An inverter reports", topic, RESUME, points)
    wrong = {"measurepoints": {"INV.TempEquipment": "warm"}, "time": when}
    guide.ask(DIRECT, "A value that is no number", topic, RESUME, wrong, expect=1204)
    high = {"measurepoints": {"INV.GenActivePW": 4000}, "time": when}
    guide.ask(DIRECT, "A value above the model's maximum", topic, RESUME, high, expect=1204)
    unknown = {"measurepoints": {"INV.Colour": 7}, "time": when}
    guide.ask(DIRECT, "A point that the model does not have", topic, RESUME, unknown, expect=1204)
    guide.ask(DIRECT, "No measurement points", topic, RESUME, {"time": when}, expect=1206)
    cut = b'{"id": "4711", "version": "1.0", "method": "thing.measurep'
    guide.ask_raw(DIRECT, "A message that was cut off", topic, RESUME, cut, expect=1206)
    other = {"measurepoints": measure(INVERTER, when), "time": when}
    title = "In the name of somebody else's device"
    guide.ask(DIRECT, title, device_topic(INVERTER, RESUME), RESUME, other, expect=1212)


def sub_devices(guide: Guide) -> None:
    """A gateway takes its sub-devices online."""
    screen = guide.screen
    screen.heading("4. A gateway speaks for its sub-devices: combine.login and combine.logout")
    screen.say(
        f"{INVERTER} and {BATTERY} hang behind the gateway {GATEWAY}. It may report for them as long as they are "
        "online, from login to logout."
    )
    topic = device_topic(INVERTER, RESUME)
    login, logout = session_topic(GATEWAY, "combine.login"), session_topic(GATEWAY, "combine.logout")
    keys = {"productKey": BATTERY.product_key, "deviceKey": BATTERY.device_key}
    when = now()
    points = {"measurepoints": measure(INVERTER, when), "time": when}
    guide.ask(GATEWAY, "Not logged in yet", topic, RESUME, points, expect=1212)
    guide.ask(GATEWAY, "The inverter logs in", login, "combine.login", guide.login_params(INVERTER))
    guide.ask(GATEWAY, "The same report again", topic, RESUME, points)
    guide.ask(GATEWAY, "The battery rack logs in", login, "combine.login", guide.login_params(BATTERY))
    guide.ask(GATEWAY, "It logs out", logout, "combine.logout", keys)
    topic, points = device_topic(BATTERY, RESUME), {"measurepoints": measure(BATTERY, when), "time": when}
    guide.ask(GATEWAY, "A report after the logout", topic, RESUME, points, expect=1212)
    guide.ask(GATEWAY, "It logs in again", login, "combine.login", guide.login_params(BATTERY))


def resume_batch(guide: Guide) -> None:
    """Several devices and times in one message, and what the flags waive."""
    guide.screen.heading(f"5. Many reports in one message: {BATCH}")
    guide.screen.say(
        "All or nothing: one failing item stores nothing of its message. Two flags waive that, one for sub-devices "
        "that are offline, one for points that do not match the model."
    )
    topic = device_topic(GATEWAY, BATCH)
    when = now()
    own = {"measurepoints": measure(GATEWAY, when), "time": when}
    inverter = {**_keys(INVERTER), "measurepoints": measure(INVERTER, when), "time": when}
    battery = {**_keys(BATTERY), "measurepoints": measure(BATTERY, when), "time": when}
    guide.ask(GATEWAY, "The gateway, an inverter, a battery rack", topic, BATCH, [own, inverter, battery])
    absent = {**_keys(OFFLINE), "measurepoints": measure(OFFLINE, when - 60_000), "time": when - 60_000}
    guide.ask(GATEWAY, "One sub-device is offline", topic, BATCH, [own, absent], expect=1212)
    title = "The same with allowOfflineSubDevice"
    guide.ask(GATEWAY, title, topic, BATCH, [own, absent], allowOfflineSubDevice=True)
    mixed = {**_keys(BATTERY), "measurepoints": {"BAT.SOC": 250, "BAT.RackVoltage": 771.5}, "time": when + 1}
    guide.ask(GATEWAY, "One point is out of range", topic, BATCH, [own, mixed], expect=1204)
    title = "The same with skipInvalidMeasurepoints"
    guide.ask(GATEWAY, title, topic, BATCH, [own, mixed], skipInvalidMeasurepoints=True)
    stranger = {**_keys(DIRECT), "measurepoints": {"temp": 20.5}, "time": when}
    title = "Not a sub-device: no flag helps"
    guide.ask(GATEWAY, title, topic, BATCH, [stranger], expect=1212, allowOfflineSubDevice=True)
    late = {"measurepoints": {"GW.DoorOpen": True}, "time": "yesterday"}
    guide.ask(GATEWAY, "A time that is none", topic, BATCH, [own, late], expect=1206)


def integration(guide: Guide) -> None:
    """A third party reports for devices of a product."""
    product_key = _CHANNEL.product_key
    guide.screen.heading(f"6. A third party reports: {INTEGRATION}")
    guide.screen.say(
        "Software that has the data already connects once for a whole product, signed with the product's secret. "
        "Whether devices are online does not matter here."
    )
    guide.connect(_CHANNEL)
    topic = channel_topic(product_key)
    when = now() - 3_600_000
    first = {"deviceKey": DIRECT.device_key, "measurepoints": {"INV.APProduction": 18250.5}, "time": when}
    second = {"deviceKey": OFFLINE.device_key, "measurepoints": {"INV.APProduction": 17904.0}, "time": when}
    guide.ask(_CHANNEL, "Two inverters", topic, INTEGRATION, [first, second])
    unknown = {**second, "deviceKey": UNKNOWN.device_key}
    guide.ask(_CHANNEL, "A device that does not exist", topic, INTEGRATION, [first, unknown], expect=1257)
    wrong = {**second, "measurepoints": {"INV.APProduction": -1}}
    guide.ask(_CHANNEL, "A value below the model's minimum", topic, INTEGRATION, [first, wrong], expect=1204)
    nameless = {"measurepoints": {"INV.APProduction": 1.5}, "time": when}
    guide.ask(_CHANNEL, "No device named", topic, INTEGRATION, [nameless], expect=1206)
    guide.ask(DIRECT, "A device uses the channel's topic", topic, INTEGRATION, [first], expect=1212)


def codes(guide: Guide) -> None:
    """What was answered, counted."""
    screen = guide.screen
    screen.heading("7. The return codes seen")
    methods = {RESUME: "resume", BATCH: "resume/batch", INTEGRATION: "integration"}
    print(f"{'':<43}{''.join(f'{name:>{len(name) + 2}}' for name in methods.values())}")
    for code, text in CODES.items():
        row = "".join(f"{guide.seen[method, code] or '-':>{len(name) + 2}}" for method, name in methods.items())
        print(f"{screen.paint(f'{code:<4}', 'green' if code == 200 else 'yellow')} {text:<38}{row}")


def stored(guide: Guide) -> None:
    """What is on disk, as the command line shows it."""
    screen, hub = guide.screen, guide.hub
    screen.heading("8. What is stored, and what was refused", gap=False)
    for arguments, text in (
        (("points", str(INVERTER), "--latest"), "The latest value of each measurement point of a device:"),
        (("points", str(BATTERY)), "Everything of another one; the value out of range is not there:"),
        (("points", str(DIRECT), "--point", "INV.APProduction", "--json"), "What the integration channel stored:"),
        (("quarantine", "ls", "-n", "6"), "The newest refused messages, each with its reason:"),
    ):
        guide.stop.check()
        print()
        screen.say(text)
        typed = f"$ enos-ingest {' '.join(arguments)}"
        print(f"\n  {screen.paint(typed, 'bold')}")
        screen.lines(hub.run(*arguments))


def commands(guide: Guide) -> None:
    """Values and service calls, from business software to devices and back."""
    guide.screen.heading("9. Values go back to devices: setMeasurepoint and invokeService")
    guide.screen.say(
        "Business software calls EnOS's REST API, here through the shell. A value is checked against the thing model, "
        "goes out on the connection of the device, and the call returns what the device answers. Nothing is sent twice."
    )
    direct, sub_device, offline = str(DIRECT), str(BATTERY), str(OFFLINE)
    guide.command(DIRECT, "An inverter is switched", "set", direct, "INV.State", "1")
    guide.command(None, "A state that the model does not have", "set", direct, "INV.State", "77", code=1)
    guide.command(DIRECT, "A service, with what it puts out", "call", direct, "limitPower", '{"limit": 50}')
    title = "A sub-device gets it over its gateway's connection"
    guide.command(GATEWAY, title, "set", sub_device, "BAT.ContactorClosed", "true")
    guide.command(None, "A device that has never been online", "set", offline, "INV.State", "1", code=1)
    guide.command(None, "It can wait for that device, an hour here", "set", offline, "INV.State", "1", "--ttl", "3600")
    guide.command(None, "All of them, newest first", "ls")


def _keys(device: tuple[str, str]) -> dict[str, str]:
    return {"productKey": device[0], "deviceKey": device[1]}
