"""Codecs of a made-up site: modules in a folder, and products that name them."""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from enos_ingest.codecs.codecs import Codecs
from enos_ingest.devices.directory import Product
from enos_ingest.errors import CodecError
from enos_ingest.settings import CodecsSettings

MESSAGE: dict[str, Any] = {
    "id": "123456789012345678",
    "version": "1.0",
    "method": "thing.service.measurepoint.set",
    "params": {"limit": 1.5},
}

BOUND = 4096
"""The longest result that these tests allow."""

PLAIN = """
    import json

    class Plain:
        def encode(self, message):
            return json.dumps(message).encode()

        def decode(self, data):
            return json.loads(data)

    codec = Plain()
"""


def write(folder: Path, name: str, source: str) -> Product:
    """A module of the folder, and a product whose codec is its attribute `codec`."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(textwrap.dedent(source))
    return Product(f"P-{name}", codec=f"{name}:codec")


def write_method(folder: Path, name: str, body: str) -> Product:
    """The same, for a codec whose methods both do this, with `value` as what they are given."""
    lines = textwrap.indent(textwrap.dedent(body).strip(), " " * 8)
    return write(
        folder,
        name,
        "import ctypes, os, sys, threading, time\n"
        "class Codec:\n"
        f"    def encode(self, value):\n{lines}\n"
        f"    def decode(self, value):\n{lines}\n"
        "codec = Codec()\n",
    )


@asynccontextmanager
async def codecs_of(folder: Path, **settings: Any) -> AsyncIterator[Codecs]:
    """Codecs whose modules are in a folder; closed at the end of the block. A busy machine does not overrun them."""
    codecs = Codecs(CodecsSettings(**{"seconds": 20.0, **settings}), folder=folder, message_bytes=BOUND)
    try:
        yield codecs
    finally:
        await codecs.close()


async def until(condition: Callable[[], object]) -> None:
    """Come back once a condition holds that another process brings about, which tells nobody."""
    while not condition():
        await asyncio.sleep(0.005)


def is_gone(pid: int) -> bool:
    """Whether there is no such process any more, or only what its parent has not looked at yet."""
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def fault(call: Awaitable[object]) -> str:
    """What is said about a call that fails."""
    with pytest.raises(CodecError) as caught:
        await call
    assert "\n" not in str(caught.value)
    return str(caught.value)
