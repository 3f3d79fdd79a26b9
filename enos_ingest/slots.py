"""What is known about every setting: its name everywhere, what it takes, how it is written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import Field, fields
from types import NoneType
from typing import Any, NamedTuple, get_args, get_type_hints

from enos_ingest.settings import Settings
from enos_ingest.sockets import Bind

__all__ = [
    "ENVIRONMENT_PREFIX",
    "SECTIONS",
    "SLOTS",
    "SettingDescription",
    "Slot",
    "as_toml",
    "describe_settings",
]

ENVIRONMENT_PREFIX = "ENOS_INGEST__"
"""Two underscores, as names of settings have one, and as Kubernetes itself sets ENOS_INGEST_PORT and its like for a
service called enos-ingest."""


class SettingDescription(NamedTuple):
    """One setting for documents: `default` as it is written in TOML, `allowed` in words."""

    section: str
    key: str
    default: str
    help: str
    env: str
    allowed: str


class Slot(NamedTuple):
    """Where one setting lives and what it takes."""

    section: str
    key: str
    type: type
    spec: Field[Any]

    @property
    def name(self) -> str:
        return f"{self.section}.{self.key}"

    @property
    def env(self) -> str:
        return f"{ENVIRONMENT_PREFIX}{self.section}__{self.key}".upper()

    def allowed(self) -> str:
        """What the setting takes, in words."""
        rules = self.spec.metadata
        if rules["choices"]:
            return "one of " + ", ".join(as_toml(choice) for choice in rules["choices"])
        if self.type in (int, float):
            noun = "a whole number" if self.type is int else "a number"
            return f"{noun} from {rules['low']} to {rules['high']}"
        if self.type is bool:
            return "true or false"
        if self.type is Bind:
            return 'HOST:PORT, or "" for none' if rules["empty"] else "HOST:PORT"
        return "a text" if rules["empty"] else "a text that is not empty"


SECTIONS: Mapping[str, type] = {
    name: hint for name, hint in get_type_hints(Settings).items() if name not in ("base", "given")
}


def _all_slots() -> Iterator[Slot]:
    for section, holder in SECTIONS.items():
        types = get_type_hints(holder)
        for spec in fields(holder):
            # Of what may be left empty, such as `Bind | None`, the type is what else it may be.
            (kind,) = {*(get_args(types[spec.name]) or [types[spec.name]])} - {NoneType}
            yield Slot(section, spec.name, kind, spec)


SLOTS: Mapping[str, Slot] = {slot.name: slot for slot in _all_slots()}


def describe_settings() -> list[SettingDescription]:
    """Every setting, in the order of the sample file."""
    return [
        SettingDescription(
            slot.section, slot.key, as_toml(slot.spec.default), slot.spec.metadata["help"], slot.env, slot.allowed()
        )
        for slot in SLOTS.values()
    ]


def as_toml(value: object) -> str:
    """A text, number or truth value as TOML writes it; None, an address that is not set, as ""."""
    return json.dumps("" if value is None else str(value) if isinstance(value, Bind) else value)
