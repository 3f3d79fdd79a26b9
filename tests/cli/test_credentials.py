"""`enos-ingest credentials`."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from enos_ingest.protocol.credentials import parse_client_id, parse_user_name, verify
from enos_ingest.protocol.identity import Channel, DeviceId
from tests.cli.conftest import Command

pytestmark = pytest.mark.usefixtures("declared")

DEVICE = DeviceId("EbxGvUrE", "gw-1")


def test_what_is_printed_signs_the_device_in(run: Command) -> None:
    """Client id, user name and password fit each other and the device's secret."""
    done = run("credentials", "EbxGvUrE/gw-1")
    assert (done.code, done.err) == (0, "")
    client_id, user_name, password = re.findall(r"^(?:client id|user name|password) +(.*)$", done.out, re.MULTILINE)
    parts = parse_client_id(client_id)
    assert parts.secure_mode == 2
    assert parse_user_name(user_name) == DEVICE
    assert verify("device-secret-1", parts.signed, DEVICE, parts.timestamp, parts.sign_method, password)
    line = done.out.splitlines()[-1]
    assert shlex.split(line) == [
        "mosquitto_pub",
        "-i",
        client_id,
        "-u",
        user_name,
        "-P",
        password,
        "-t",
        "TOPIC",
        "-m",
        "MESSAGE",
    ]


def test_options_are_one_line_for_a_shell(run: Command) -> None:
    """`--options` prints the three options and nothing else, quoted: the client id holds `|`, the user name `&`."""
    done = run("credentials", "EbxGvUrE/gw-1", "--options")
    assert done.out.count("\n") == 1
    words = shlex.split(done.out)
    assert words[0::2] == ["-i", "-u", "-P"]
    assert words[3] == "gw-1&EbxGvUrE"
    assert shlex.join(words) == done.out.strip()


def test_options_name_the_port_where_it_is_another(run: Command, folder: Path) -> None:
    """mosquitto's clients take 1883 for granted; of port 0 nobody knows what it will be."""
    for bind, port in (("127.0.0.1:1884", ["-p", "1884"]), ("0.0.0.0:1883", []), ("127.0.0.1:0", [])):
        (folder / "enos-ingest.toml").write_text(f'[mqtt]\nbind = "{bind}"\n')
        words = shlex.split(run("credentials", "EbxGvUrE/gw-1", "--options").out)
        assert words[:-6] == port
        assert words[-6::2] == ["-i", "-u", "-P"]
    assert "before them -p where mqtt.bind is not 1883" in " ".join(run("credentials", "--help").out.split())


def test_a_channel_signs_with_its_products_secret(run: Command) -> None:
    """`PRODUCT/%channel%` is the integration channel, secure mode 4."""
    words = shlex.split(run("credentials", "EbxGvUrE/%channel%", "--options").out)
    parts = parse_client_id(words[1])
    assert (parts.signed, parts.secure_mode) == ("EbxGvUrE", 4)
    assert parse_user_name(words[3]) == Channel("EbxGvUrE")
    signer = DeviceId("EbxGvUrE", "%channel%")
    assert verify("product-secret-1", parts.signed, signer, parts.timestamp, parts.sign_method, words[5])


@pytest.mark.parametrize(
    ("device", "said"),
    [
        ("EbxGvUrE/nobody", "EbxGvUrE/nobody is not declared"),
        ("Nope/%channel%", "Nope/%channel% is not declared"),
        ("Sb7PkXyZ/%channel%", "Sb7PkXyZ/%channel% has no secret"),
    ],
)
def test_who_cannot_sign_in(run: Command, device: str, said: str) -> None:
    """A device that is not declared, or a product without a secret, is a fault."""
    assert run("credentials", device) == (1, "", f"enos-ingest: {said}\n")


def test_wrong_usage(run: Command) -> None:
    """What is no PRODUCT/DEVICE ends with exit code 2."""
    assert run("credentials").code == 2
    assert run("credentials", "gw-1").code == 2
