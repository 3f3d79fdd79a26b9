"""`enos-ingest credentials`: what to paste into mosquitto_pub to be a device."""

from __future__ import annotations

import argparse
import shlex
import sys

from enos_ingest.cli.options import Commands, add_command, database, device, settings
from enos_ingest.clock import epoch_ms
from enos_ingest.protocol.credentials import Credentials, make_credentials
from enos_ingest.protocol.identity import CHANNEL_DEVICE_KEY, Channel, DeviceId, Publisher
from enos_ingest.storage.registry import open_registry

__all__ = ["add_commands"]

_MQTT_PORT = 1883
"""What mosquitto's clients take for granted."""


def add_commands(commands: Commands) -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "credentials",
        "print the client id, user name and password of a device",
        "Print what a device puts into CONNECT, ready for mosquitto_pub and mosquitto_sub. The password is the "
        "signature, not the secret, and does not expire; keep it like one.",
    )
    channel = CHANNEL_DEVICE_KEY.replace("%", "%%")  # argparse formats its help texts
    parser.add_argument("device", type=device, metavar="PRODUCT/DEVICE", help=f"or PRODUCT/{channel} for its channel")
    parser.add_argument(
        "--options",
        action="store_true",
        help="only the options, quoted for a shell: -i -u -P, before them -p where mqtt.bind is not 1883",
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    with open_registry(database(options), read_only=True) as registry:
        directory = registry.directory()
    wanted: DeviceId = options.device
    publisher: Publisher
    if wanted.device_key == CHANNEL_DEVICE_KEY:
        publisher = Channel(wanted.product_key)
        product = directory.products.get(wanted.product_key)
        known, secret = product is not None, product.secret if product else ""
    else:
        publisher = wanted
        row = directory.devices.get(wanted)
        known, secret = row is not None, row.secret if row else ""
    if not secret:
        what = "has no secret" if known else "is not declared"
        print(f"enos-ingest: {wanted} {what}", file=sys.stderr)
        return 1
    made = make_credentials(publisher, secret, epoch_ms())
    port = settings(options).mqtt.bind.port
    for_mosquitto = _as_options(made) if port in (0, _MQTT_PORT) else f"-p {port} {_as_options(made)}"
    if not options.options:
        print(f"client id  {made.client_id}\nuser name  {made.user_name}\npassword   {made.password}\n")
        for_mosquitto = f"mosquitto_pub {for_mosquitto} -t TOPIC -m MESSAGE"
    print(for_mosquitto)
    return 0


def _as_options(made: Credentials) -> str:
    return f"-i {shlex.quote(made.client_id)} -u {shlex.quote(made.user_name)} -P {shlex.quote(made.password)}"
