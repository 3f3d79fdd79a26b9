"""The README says what is so: its commands run, its tables are complete."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import random
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from enos_ingest.cli import build_parser
from enos_ingest.cli.models import contents
from enos_ingest.http.metrics import Metrics
from enos_ingest.models.document import parse_thing_model
from enos_ingest.models.validator import CompiledModel
from enos_ingest.slots import describe_settings
from enos_ingest.testing.hub import run_hub
from enos_ingest.uplinks import ROUTES
from enos_ingest.uplinks.unserved import UNSERVED
from tests.http.test_metrics import readings
from tests.process import PATIENCE, environment
from tests.readme import README, ROOT, comparable, console_steps, settings_table

TEXT = README.read_text("utf-8")

_PRELUDE = """
set -m
trap 'for job in $(jobs -p); do kill -- -$job; done' EXIT
mosquitto_pub() {{ command mosquitto_pub -p {mqtt} "$@"; }}
mosquitto_sub() {{ stdbuf -oL mosquitto_sub -d -p {mqtt} "$@" | tee raw.log | grep --line-buffered '^/sys'; }}
curl() {{ command curl "${{@//127.0.0.1:8080/127.0.0.1:{http}}}"; }}
export -f curl
wait_until() {{ for _ in $(seq 200); do "$@" && return; sleep 0.05; done; echo "waited in vain: $*"; exit 9; }}
listening() {{ grep -q listening hub.log 2>/dev/null; }}
stopped() {{ grep -q stopped hub.log; }}
subscribed() {{ grep -q SUBACK raw.log 2>/dev/null; }}
watched() {{ [ "$(wc -l < watch.log)" -ge "$1" ]; }}
succeeded() {{ [ "$(enos-ingest command ls --state success | wc -l)" -ge "$1" ]; }}
online() {{ curl -s http://127.0.0.1:8080/metrics | grep -q "^enos_ingest_devices_online $1"; }}
"""

_AWAITED = (
    ("enos-ingest serve", "wait_until listening"),
    ("mosquitto_sub", "wait_until subscribed"),
    ('-m \'{"id":"1"', "wait_until watched 2"),
    ('-m \'{"id":"2"', "wait_until watched 4"),
    # The next hub writes the same file.
    ("kill %1", "wait_until stopped; rm hub.log"),
    ("enos-ingest serve", "wait_until listening"),
    ("python3 device.py", "wait_until online 1"),
    ("kill %python", "wait_until online 0"),
    ("python3 device.py", "wait_until succeeded 3"),
)
"""What a person waits for after a command, by eye, in the order of the README."""


def test_every_setting_stands_in_the_readme() -> None:
    """The table of settings is the one that the code makes."""
    table = TEXT.partition("<!-- settings -->\n")[2].partition("\n<!-- /settings -->")[0]
    assert table == settings_table()


def test_every_metric_stands_in_the_readme() -> None:
    """By its name, without what all begin with."""
    metrics = Metrics()
    metrics.watch(readings())
    families = text_string_to_metric_families(metrics.render().decode())
    names = [family.name.removeprefix("enos_ingest_") for family in families if family.name.startswith("enos_ingest_")]
    assert [name for name in names if not re.search(rf"`{name}[`{{]", TEXT)] == []


def test_every_uplink_stands_in_the_readme() -> None:
    """In the table of what devices may send, where a row may name several topics that differ at their ends.

    And nothing stands there that is none, but the topics of bytes, whose requests a codec makes.
    """
    cells = re.findall(r"(?m)^\| [^|]+ \| (`/(?:sys|ext)/[^|]+) \| [^|]+ \| [^|]+ \|$", TEXT)
    documented = {topic for cell in cells for topic in _topics(re.findall(r"`([^`]+)`", cell))}
    routes = {_topic(route.kind) for route in ROUTES.values() if route.kind not in _OLD_SPELLINGS}
    assert sorted(routes - documented) == []
    assert [topic for topic in documented - routes if not topic.endswith("/up_raw`")] == []


def test_all_that_is_not_served_stands_in_the_readme() -> None:
    """With the words in which a device is told so."""
    rows = [row[2:-2].split(" | ") for row in TEXT.partition("| not served, answered 1009 |")[2].splitlines()[2:]]
    documented = {}
    for what, topics in itertools.takewhile(lambda row: len(row) == 2, rows):
        documented.update(dict.fromkeys(topics.split(", "), what))
    assert documented == {_topic(kind): what for kind, what in UNSERVED.items()}


def test_every_setting_stands_in_the_sample_file() -> None:
    """The annotated configuration names each setting."""
    sample = (ROOT / "enos-ingest.toml").read_text("utf-8")
    assert [item.key for item in describe_settings() if f"#{item.key} = " not in sample] == []


def test_every_command_and_option_stands_in_the_readme() -> None:
    """The table of commands names each command with its options."""
    rows = [line for line in TEXT.splitlines() if line.startswith("| `enos-ingest ")]
    for command, options in _commands(build_parser()):
        of_all = _OF_A_CALL if command.startswith("enos-ingest command ") else ()
        row = next((row for row in rows if row.startswith(f"| `{command}") and row[len(command) + 3] in "` "), None)
        assert row is not None, f"{command} is not documented"
        missing = [option for option in options if option not in row and option not in of_all]
        assert missing == [], f"{command} has undocumented options"
    assert [option for option in _OF_A_CALL if not re.search(rf"`{option}[` ]", TEXT)] == []


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "docs/commands.md",
        "docs/facts.md",
        "docs/gateways.md",
        "docs/sessions.md",
    ],
)
def test_lines_are_short_enough_for_a_diff(name: str) -> None:
    """Prose is wrapped; rows of tables and what a terminal shows cannot be."""
    prose = re.sub(r"(?ms)^```.*?^```$", "", (ROOT / name).read_text("utf-8"))
    assert [line for line in prose.splitlines() if len(line) > 160 and not line.startswith("|")] == []


def test_the_thing_model_of_the_readme_is_one() -> None:
    """It says what the sentence before it says."""
    (text,) = re.findall(r"(?ms)^```json\n(\{\n  \"modelId\".*?)^```$", README.read_text("utf-8"))
    model = CompiledModel(parse_thing_model(orjson.loads(text), "README.md"))
    assert [(point.identifier, point.writable) for point in model.model.measurepoints.values()] == [
        ("setpoint", True),
        ("mode", True),
        ("flow", False),
    ]
    assert model.service("purge") is not None
    assert f"`pump.json: pump, {contents(model.model)}`" in TEXT


def test_every_changelog_version_is_the_packages() -> None:
    """The newest entry of the changelog is the version of the package."""
    from enos_ingest import __version__  # noqa: PLC0415

    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    newest = next(line for line in changelog.splitlines() if line.startswith("## "))
    assert newest.startswith(f"## {__version__} ")


@pytest.mark.needs("mosquitto_pub", "mosquitto_sub", "bash", "curl", "openssl")
def test_the_console_blocks_print_what_they_show(tmp_path: Path) -> None:
    """Every command of the README, run in order in one shell, prints what the README shows."""
    steps = console_steps(TEXT)
    assert len(steps) > 20
    mqtt, http = _free_ports(2)
    script = _PRELUDE.format(mqtt=mqtt, http=http)
    awaited = list(_AWAITED)
    for step in steps:
        script += f"\necho '@@@'\n{step.command.replace('1883', str(mqtt))}\n"
        if awaited and awaited[0][0] in step.command:
            script += f"{awaited.pop(0)[1]}\n"
    assert not awaited
    script += "\nwait"
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "ENOS_INGEST__MQTT__BIND": f"127.0.0.1:{mqtt}",
        "ENOS_INGEST__HTTP__BIND": f"127.0.0.1:{http}",
    }
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    printed = done.stdout.split("@@@\n")[1:]
    assert len(printed) == len(steps), done.stdout + done.stderr
    for step, output in zip(steps, printed, strict=True):
        assert comparable(output) == comparable(step.output), f"$ {step.command}\n{done.stderr}"


@pytest.mark.needs("bash", "curl", "openssl")
def test_the_script_of_the_readme_says_why_it_gets_no_token(tmp_path: Path) -> None:
    """A login that fails ends it, with the answer of the hub, or that of curl where there is none."""
    (text,) = re.findall(r"(?ms)^\$ cat > enos\.sh <<'END'\n(.*?)^END$", TEXT)
    (port,) = _free_ports(1)
    query = "action=setMeasurepoint&orgId=default&productKey=P&deviceKey=d&measurepointId=temp"
    registry = {"applications": [{"name": "scada", "key": "scada-1", "secret": "right", "scopes": ["control"]}]}

    def run(url: str, secret: str) -> tuple[int, str, str]:
        script = tmp_path / "enos.sh"
        script.write_text(text.replace("http://127.0.0.1:8080", url).replace("choose-a-third", secret))
        done = subprocess.run(
            ["bash", script, query, '{"value":20}'],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    with run_hub(registry=registry) as hub:
        code, out, err = run(hub.http_url, "wrong")
        assert (code, out) == (1, "")
        assert err.startswith('no token: {"status":1003,"msg":"encryption is not the hex SHA-256 of appKey')
        code, out, err = run(hub.http_url, "right")
        assert (code, orjson.loads(out)["code"], err) == (0, 99404, "")
    code, out, err = run(f"http://127.0.0.1:{port}", "right")
    assert (code, out) == (1, "")
    assert re.fullmatch(r"curl: \(7\) .*\nno token: \n", err)


def test_the_tests_of_the_readme_pass(tmp_path: Path) -> None:
    """What it shows for other people's tests is a file that pytest runs."""
    section = TEXT.partition("## In your own tests")[2].partition("\n## ")[0]
    blocks = re.findall(r"(?ms)^```python\n(.*?)^```$", section)
    assert len(blocks) == 2
    (tmp_path / "test_readme.py").write_text("\n\n".join(blocks))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", "--color=no"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.stdout.splitlines()[-1].strip("= ").startswith("2 passed in "), done.stdout


_OLD_SPELLINGS = {"integration/attributes/post"}
"""Topics of old editions of EnOS's documents, served and not advertised."""


def _topics(named: list[str]) -> Iterator[str]:
    """Whole topics: those behind the first are written from where they differ."""
    first, *ends = named
    yield f"`{first}`"
    for end in ends:
        levels = end.count("/") + 1
        yield f"`{'/'.join(first.split('/')[:-levels])}/{end}`"


def _topic(kind: str) -> str:
    """The topic of a kind of request, as the README writes it."""
    family, _, action = kind.replace("+", "{eventId}").partition("/")
    prefix = {
        "sys": "/sys/{productKey}/{deviceKey}",
        "session": "/ext/session/{productKey}/{deviceKey}",
        "integration": "/sys/{productKey}/integration",
    }
    return f"`{prefix[family]}/{action}`"


def _commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, list[str]]]:
    """Each command with its long options, as `--help` knows them."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]  # noqa: SLF001
    for group in groups:
        for child in group.choices.values():
            yield from _commands(child)
    if not groups:
        options = [action.option_strings[-1] for action in parser._actions if action.option_strings]  # noqa: SLF001
        yield parser.prog, [option if option != "--limit" else "-n" for option in options if option not in _COMMON]


_COMMON = {"--help", "--config"}
_OF_A_CALL = ("--url", "--org", "--key-file", "--key", "--json")
"""What every `enos-ingest command` takes; a sentence below the table says so."""


def _free_ports(count: int) -> list[int]:
    """Ports that stay free: below those that systems give to others who ask for any."""
    found: set[int] = set()
    while len(found) < count:
        port = random.randrange(20_000, 30_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.add(port)
    return [*found]
