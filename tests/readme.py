"""What the README must say, made from the code, and how its console blocks are run."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import NamedTuple

from enos_ingest.slots import describe_settings

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"


class Step(NamedTuple):
    """One command of a console block, and what it is shown to print."""

    command: str
    output: str


def settings_table() -> str:
    """The table of all settings, as it stands in the README between its two marks."""
    rows = [f"| `{item.section}.{item.key}` | `{item.default}` | {item.help} |" for item in describe_settings()]
    return "\n".join(["| setting | default | |", "|---|---|---|", *rows])


def console_steps(text: str) -> list[Step]:
    """The commands of all console blocks, in order; a here-document belongs to the command that starts it."""
    steps: list[Step] = []
    for block in re.findall(r"^```console\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        lines = iter(block.splitlines())
        for line in lines:
            if line.startswith("$ "):
                command = line[2:]
                if "<<'END'" in command:
                    command = "\n".join([command, *itertools.takewhile(lambda row: row != "END", lines), "END"])
                steps.append(Step(command, ""))
            else:
                steps[-1] = Step(steps[-1].command, f"{steps[-1].output}{line}\n")
    return steps


def comparable(text: str) -> str:
    """Output without what differs from run to run: times, timestamps, signatures and ids."""
    text = text.rstrip("\n")  # an envelope ends without one
    text = re.sub(r"mosquitto_pub -p [0-9]+ ", "mosquitto_pub ", text)
    text = re.sub(r"timestamp=[0-9]{13}", "timestamp=TIMESTAMP", text)
    text = re.sub(r"\b[0-9A-F]{64}\b", "SIGNATURE", text)
    text = re.sub(r"\b[0-9]{18}\b", "COMMAND", text)
    text = re.sub(r"\b[0-9a-f]{32}\b", "REQUEST", text)
    return re.sub(r"\b2026-[0-9T:.-]+Z", "TIME", text) if "1204" in text or "COMMAND" in text else text
