"""`enos-ingest serve`."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import replace

from enos_ingest.cli.options import Commands, add_command, settings
from enos_ingest.errors import EnosIngestError
from enos_ingest.logs import configure_logging, flush_logs, get_logger
from enos_ingest.service import Service
from enos_ingest.settings import Settings

__all__ = ["add_commands", "loop_factory", "run_service"]

log = get_logger(__name__)

_OPEN_FILES = 10_240
_OTHER_FILES = 320
"""HTTP may hold 256, the hub's own way in 8; the rest is for the database, the logs and the listeners."""

_COLLECT_AFTER = 100_000
"""Objects made and not freed until the collector looks for cyclic garbage among them: some 20 MB."""

_FORCED = 1
"""The exit code after a second signal: something that was read may be neither stored nor answered."""


def add_commands(commands: Commands) -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "serve",
        "run the hub",
        "Run the hub until SIGTERM or Ctrl-C, which drain it: what was read is committed and answered. "
        "A second signal forces the end. SIGHUP reads the TLS certificate and its key again.",
    )
    parser.add_argument("--mqtt", metavar="HOST:PORT", help="where to serve MQTT (mqtt.bind)")
    parser.add_argument("--http", metavar="HOST:PORT", help="where to serve HTTP (http.bind)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        type=_setting,
        metavar="SECTION.KEY=VALUE",
        help="any other setting, such as limits.in_flight=500; may be repeated",
    )
    parser.set_defaults(run=_run)


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or "." not in name:
        raise argparse.ArgumentTypeError(f"{text!r} is not SECTION.KEY=VALUE")
    return name, value


def _run(options: argparse.Namespace) -> int:
    overrides = dict(options.set)
    for flag in ("mqtt", "http"):
        if getattr(options, flag) is not None:
            overrides[f"{flag}.bind"] = getattr(options, flag)
    loaded = settings(options, overrides)
    configure_logging(loaded.log.level, loaded.log.format)
    try:
        return run_service(loaded)
    except EnosIngestError as error:
        flush_logs()  # what led to it stands before it
        print(f"enos-ingest: {error}", file=sys.stderr)
        return 3


def run_service(loaded: Settings, make: Callable[[Settings], Service] = Service) -> int:
    """Run a service until it is asked to stop; `make` builds it, another than ours to measure the rest."""
    # SQLite's thread and the event loop share the interpreter: at the default of 5 ms a commit that is done waits
    # that long to tell.
    sys.setswitchinterval(0.0005)
    allowed = _allow_open_files(loaded.limits.connections)
    # Strangers must not take the last files: the database and the log need theirs.
    limits = replace(loaded.limits, connections=max(1, min(loaded.limits.connections, allowed)))
    loaded = replace(loaded, limits=limits)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(_serve(make, loaded))


def _collect_rarely() -> None:
    """Have cyclic garbage looked for now and then only, and not among what stays.

    Thousands of messages on their way are tens of thousands of objects, none of them in a cycle: at the default of 700
    the collector would look through them all the time, for a fifth of the processor.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 5, 5)


def _allow_open_files(connections: int) -> int:
    """Raise the soft limit on open files to the hard one, and say how many connections there may be by that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or soft < hard:
        # macOS calls its hard limit infinite and takes no more than this.
        target = max(soft, _OPEN_FILES if hard == resource.RLIM_INFINITY else hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
        soft = target
    allowed = max(soft - _OTHER_FILES, 0)
    if allowed < connections:
        log.warning(
            "the system allows fewer open files than limits.connections needs: further connections are refused",
            open_files=soft,
            connections=allowed,
            wanted=connections,
        )
    else:
        log.info("open files are enough for so many connections", open_files=soft, connections=allowed)
    return allowed


def loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    """uvloop where it exists."""
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        return None
    loop: type[asyncio.AbstractEventLoop] = uvloop.Loop
    return loop


async def _serve(make: Callable[[Settings], Service], loaded: Settings) -> int:
    service = make(loaded)
    asked = asyncio.Event()

    def on_signal(name: str) -> None:
        if asked.is_set():
            log.error("forced to stop by a second signal", signal=name)
            flush_logs()
            os._exit(_FORCED)
        log.info("asked to stop", signal=name)
        asked.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number.name)
    # Before the start: until there is a handler the signal would end the process.
    loop.add_signal_handler(signal.SIGHUP, service.reload_certificate)
    await service.start()
    _collect_rarely()
    await asked.wait()
    await service.stop()
    return 0
