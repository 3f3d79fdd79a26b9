"""`enos-ingest serve`."""

from __future__ import annotations

import argparse
import asyncio
import functools
import gc
import os
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from enos_ingest.cli.options import Commands, add_command, settings
from enos_ingest.errors import EnosIngestError
from enos_ingest.logs import configure_logging, flush_logs, get_logger
from enos_ingest.settings import LimitsSettings, Settings

if TYPE_CHECKING:
    from enos_ingest.service import Service

__all__ = ["add_commands", "loop_factory", "run_service"]

log = get_logger(__name__)

_OPEN_FILES = 10_240
_OTHER_FILES = 192
"""Files that are neither a client's MQTT nor an HTTP connection: the hub's own way in may hold 8, the database, the
logs and the listeners some 30; the rest is for connections that are accepted only to be closed."""

_SPARE_REQUESTS = 16
"""HTTP connections beyond the calls that may be answered, where files are few: for probes, and to say 503 on."""

_COLLECT_AFTER = 100_000
"""Objects made and not freed until the collector looks for cyclic garbage among them: some 20 MB."""

_FORCED = 1
"""The exit code after a second signal: something that was read may be neither stored nor answered."""

_LOST = 1
"""The exit code where the store has ended by itself, killed for want of memory for one; the supervisor starts anew."""


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


def run_service(loaded: Settings, make: Callable[[Settings], Service] | None = None) -> int:
    """Run a service until it is asked to stop; `make` builds it, another than ours to measure the rest."""
    if make is None:
        # Half of the time that every other command takes.
        from enos_ingest.service import Service  # noqa: PLC0415
        from enos_ingest.storage.writer import SqliteWriter  # noqa: PLC0415

        make = functools.partial(Service, open_writer=functools.partial(SqliteWriter, process=True))
    # Readers' threads and the event loop share the interpreter: at the default of 5 ms each turn takes that long.
    sys.setswitchinterval(0.0005)
    # Strangers must not take the last files: the database and the log need theirs.
    loaded = replace(loaded, limits=_share_files(loaded.limits, _raise_open_files()))
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


def _raise_open_files() -> int:
    """Raise the soft limit on open files to the hard one, and say what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or soft < hard:
        # macOS calls its hard limit infinite and takes no more than this.
        target = max(soft, _OPEN_FILES if hard == resource.RLIM_INFINITY else hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
        soft = target
    return soft


def _share_files(limits: LimitsSettings, open_files: int) -> LimitsSettings:
    """The limits with as many connections as so many open files allow; the log says how many.

    Devices and callers have shares of their own, so that neither can take the other's. Where there are too few files
    for both, HTTP gets what devices leave, and a quarter at the least.
    """
    spare = max(open_files - _OTHER_FILES, 0)
    http = min(limits.http_connections, max(spare - limits.connections, spare // 4))
    allowed = {"connections": spare - http, "http_connections": http}
    wanted = {"connections": limits.connections, "http_connections": limits.http_connections}
    short = [name for name in wanted if allowed[name] < wanted[name]]
    if short:
        log.warning(
            "the system allows fewer open files than the limits need: further connections are refused",
            open_files=open_files,
            **allowed,
            wanted={f"limits.{name}": wanted[name] for name in short},
        )
    else:
        log.info("open files are enough for so many connections", open_files=open_files, **allowed)
    requests = limits.http_requests if http == limits.http_connections else max(1, http - _SPARE_REQUESTS)
    return replace(
        limits,
        connections=max(1, min(limits.connections, allowed["connections"])),
        http_connections=max(1, http),
        http_requests=min(limits.http_requests, requests),
    )


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
    ends = [asyncio.create_task(event.wait()) for event in (asked, service.lost)]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    for task in ends:
        task.cancel()
    await service.stop()
    return _LOST if service.lost.is_set() else 0
