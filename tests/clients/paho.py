"""The two generations of paho-mqtt that the official Python SDK is used on: the one we have, and 1.6.

1.6 is fetched once, by pip, into a folder of the checkout that is no part of any environment: the hub and our own
client need the newer one, in the same process.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

__all__ = ["GENERATIONS", "OLD", "fetch_old", "sdk_on"]

GENERATIONS = ("paho-2", "paho-1.6")

OLD = "paho-mqtt 1.6"
"""What is not run where pip cannot fetch it."""

_REQUIREMENT = "paho-mqtt==1.6.1"
_FOLDER = Path(__file__).resolve().parents[2] / ".cache" / _REQUIREMENT.replace("==", "-")
_SECONDS = 300


@cache
def fetch_old() -> Path | None:
    """The folder with paho-mqtt 1.6, for `sys.path`; None where it is not there and pip cannot fetch it."""
    if (_FOLDER / "paho" / "mqtt" / "client.py").is_file():
        return _FOLDER
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--retries", "2"]
    # Apart and renamed at the end: what was interrupted is never taken for the whole.
    unfinished = _FOLDER.with_name(f"{_FOLDER.name}.{os.getpid()}")
    try:
        fetched = subprocess.run(
            [*command, "--target", unfinished, _REQUIREMENT], capture_output=True, timeout=_SECONDS, check=False
        )
        if fetched.returncode == 0:
            unfinished.rename(_FOLDER)
    except (subprocess.TimeoutExpired, OSError):  # another run was faster, or there is no time
        pass
    return _FOLDER if (_FOLDER / "paho" / "mqtt" / "client.py").is_file() else None


@cache
def _old_client() -> ModuleType:
    """The module `paho.mqtt.client` of 1.6, beside the newer one, which stays what `import` finds."""
    folder = fetch_old()
    assert folder is not None
    newer = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "paho"}
    for name in newer:
        del sys.modules[name]
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module("paho.mqtt.client")
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name.split(".")[0] == "paho"]:
            del sys.modules[name]
        sys.modules.update(newer)


@contextmanager
def sdk_on(generation: str) -> Iterator[None]:
    """Let the SDK use a generation of paho-mqtt, as if its one `import paho.mqtt.client` had found that."""
    if generation == "paho-2":
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("enos.core.internal.MqttConnection.mqtt", _old_client())
        yield
