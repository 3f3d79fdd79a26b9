"""Reading the settings: a TOML file, the environment and flags, each over the one before."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from enos_ingest.errors import ConfigError
from enos_ingest.settings import Settings
from enos_ingest.slots import ENVIRONMENT_PREFIX, SECTIONS, SLOTS, Slot, as_toml
from enos_ingest.sockets import Bind
from enos_ingest.toml import parse_toml

__all__ = ["find_config", "load_settings"]

_DEFAULT_FILE = "enos-ingest.toml"
_SHOWN_CHARACTERS = 80
_SHOWN_BITS = 128
_SLOTS_BY_ENV: Mapping[str, Slot] = {slot.env: slot for slot in SLOTS.values()}
_ENVS_BY_PLAIN: Mapping[str, str] = {env.replace("__", "_"): env for env in _SLOTS_BY_ENV}

_OURS = "ENOS_INGEST_"
_NO_SETTINGS = frozenset({"ENOS_INGEST_KEY", "ENOS_INGEST_PYTHON", "ENOS_INGEST_TESTS_NO_SKIP"})
"""Variables of ours that are no settings: of the shell's commands, of the scripts and of the tests."""

_KNOWN_BY_PLAIN: Mapping[str, str] = {**_ENVS_BY_PLAIN, **{name: name for name in _NO_SETTINGS}}
"""What a variable that is none may have been meant for, by its name with single underscores."""

_OF_KUBERNETES = re.compile(
    r"ENOS_INGEST_(?:\w+_)?(?:"
    r"SERVICE_HOST=.*|SERVICE_PORT(?:_\w+)?=\d+|PORT=\w+://.*|PORT_\d+_(?:TCP|UDP|SCTP)(?:_PROTO|_PORT|_ADDR)?=.*)",
    re.ASCII,
)
"""What Kubernetes tells every container of a service whose name begins with enos-ingest, with its value."""


def find_config() -> Path | None:
    """`enos-ingest.toml` in the working folder, None where there is none."""
    path = Path(_DEFAULT_FILE)
    return path if path.exists() else None


def load_settings(
    path: Path | None,
    environ: Mapping[str, str],
    overrides: Mapping[str, str] | None = None,
    *,
    origin: str = "command line",
) -> Settings:
    """Read the settings: flag over environment over file over default.

    Args:
        path: the configuration file, None for none.
        environ: the environment; only names that start with `ENOS_INGEST_` count.
        overrides: what was typed as flags, by `section.key`.
        origin: where those were typed, for the sentences of errors.

    Raises:
        ConfigError: a file that cannot be read, a name that is not known, a value that is not allowed.
    """
    values: dict[str, object] = {}
    if path is not None:
        for slot, value in _read_file(path):
            values[slot.name] = _check(slot, value, str(path))
    for variable in sorted(environ):
        if _is_setting(variable, environ[variable]):
            slot = _find_by_env(variable)
            values[slot.name] = _check(slot, _from_text(slot, environ[variable]), variable)
    for name, text in (overrides or {}).items():
        slot = _find(name, origin)
        values[name] = _check(slot, _from_text(slot, text), origin)
    sections = {
        section: holder(**{slot.key: values[slot.name] for slot in SLOTS.values() if _given(slot, section, values)})
        for section, holder in SECTIONS.items()
    }
    base = path.absolute().parent if path is not None else Path.cwd()
    return Settings(**sections, base=base, given=frozenset(values))


def _given(slot: Slot, section: str, values: Mapping[str, object]) -> bool:
    return slot.section == section and slot.name in values


def _read_file(path: Path) -> Iterator[tuple[Slot, object]]:
    """The settings that the file at `path` holds, each with its value, unchecked."""
    for section, table in _parse_file(path).items():
        if section not in SECTIONS:
            if not isinstance(table, dict):
                raise ConfigError(f"{path}: {_key(section)} stands outside any section{_other_section(section)}")
            raise ConfigError(f"{path}: unknown section [{_key(section)}]; {_nearest(section, list(SECTIONS), '[{}]')}")
        if not isinstance(table, dict):
            raise ConfigError(f"{path}: {section} is a section: write [{section}] on a line of its own")
        for key, value in table.items():
            yield _find(f"{section}.{key}", str(path)), value


def _parse_file(path: Path) -> dict[str, Any]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such configuration file") from None
    except OSError as exc:
        raise ConfigError(f"{path}: cannot read the configuration file: {exc.strerror or exc}") from exc
    try:
        # utf-8-sig: some editors put a byte order mark in front, which TOML does not know.
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        raise ConfigError(f"{path}: not UTF-8 text (at line {line})") from None
    try:
        return parse_toml(text)
    except ValueError as exc:
        raise ConfigError(f"{path}: not valid TOML: {exc}") from None


def _find(name: str, origin: str) -> Slot:
    """The slot called `section.key`; ConfigError with the nearest name where there is none."""
    slot = SLOTS.get(name)
    if slot is None:
        section, _, key = name.partition(".")
        moved = [other.name for other in SLOTS.values() if other.key == key]
        if moved:
            hint = f"did you mean {moved[0]}?"
        else:
            siblings = [other.key for other in SLOTS.values() if other.section == section]
            hint = _nearest(key, siblings, f"{section}.{{}}") if siblings else _nearest(name, list(SLOTS))
        raise ConfigError(f"{origin}: unknown setting {_key(name)}; {hint}")
    return slot


def _is_setting(variable: str, value: str) -> bool:
    """Whether a variable must be a setting: who wrote one underscore for two would otherwise get a default."""
    if variable.startswith(ENVIRONMENT_PREFIX):
        return True
    is_ours = variable.startswith(_OURS) and variable not in _NO_SETTINGS
    return is_ours and not _OF_KUBERNETES.fullmatch(f"{variable}={value}")


def _find_by_env(variable: str) -> Slot:
    slot = _SLOTS_BY_ENV.get(variable)
    if slot is None:
        near = difflib.get_close_matches(variable.replace("__", "_"), _KNOWN_BY_PLAIN, n=1, cutoff=0.6)
        hint = f"did you mean {_KNOWN_BY_PLAIN[near[0]]}?" if near else _nearest(variable, list(_SLOTS_BY_ENV))
        raise ConfigError(f"environment: unknown variable {_key(variable)}; {hint}")
    return slot


def _nearest(name: str, valid: list[str], form: str = "{}") -> str:
    """A hint: the nearest of the valid names, all of them where none is near."""
    near = difflib.get_close_matches(name, valid, n=1, cutoff=0.6)
    if near:
        return f"did you mean {form.format(near[0])}?"
    return "there are " + ", ".join(form.format(each) for each in valid)


def _other_section(key: str) -> str:
    homes = [f"[{slot.section}]" for slot in SLOTS.values() if slot.key == key]
    return f"; it belongs under {' or '.join(homes)}" if homes else f"; {_nearest(key, list(SECTIONS), '[{}]')}"


def _from_text(slot: Slot, text: str) -> object:
    """The value that `text`, typed in a shell, stands for; the text itself where it is none of the slot's type."""
    if slot.type is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    if slot.type in (int, float):
        try:
            return int(text) if slot.type is int else float(text)
        except ValueError:
            return text
    return text


def _check(slot: Slot, value: object, origin: str) -> object:
    """The value as the slot's type; ConfigError where it is another type or out of range."""
    rules = slot.spec.metadata
    allowed = slot.allowed()
    if slot.type is Bind and isinstance(value, str):
        if not value and rules["empty"]:
            return None
        try:
            return Bind.parse(value)
        except ValueError as exc:
            allowed = str(exc)
    elif slot.type is float and type(value) in (int, float) and isinstance(value, (int, float)):
        # The range comes first: a whole number beyond any float would not convert, and NaN is in no range.
        if rules["low"] <= value <= rules["high"]:
            return float(value)
    elif slot.type is int and type(value) is int:
        if rules["low"] <= value <= rules["high"]:
            return value
    elif (slot.type is bool and isinstance(value, bool)) or (slot.type is str and _is_text(value, rules)):
        return value
    raise ConfigError(f"{origin}: {slot.name} must be {allowed}, not {_show(value)}")


def _is_text(value: object, rules: Mapping[str, Any]) -> bool:
    if not isinstance(value, str) or "\0" in value:
        return False
    return value in rules["choices"] if rules["choices"] else bool(value or rules["empty"])


def _show(value: object) -> str:
    """A value as it was written, on one line and not too long."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int) and value.bit_length() > _SHOWN_BITS:
        # Python refuses to write a number of more than 4300 digits, which TOML's hexadecimal can hold.
        return f"a number of {value.bit_length()} bits"
    text = as_toml(value) if isinstance(value, (str, int, float)) else str(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."


def _key(name: str) -> str:
    """A key from outside, safe to print: plain where it is plain, else quoted."""
    return name if re.fullmatch(r"[\w.-]{1,80}", name) else _show(name)
