"""Arguments, and the way from start to end."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from enos_ingest import __version__
from scripts.tour import chapters
from scripts.tour.commands import show_commands
from scripts.tour.device import ConnectRefusedError, NoReplyError
from scripts.tour.guide import Guide
from scripts.tour.hub import FolderError, Hub, StartFailedError
from scripts.tour.live import report_until_stopped
from scripts.tour.plant import GATEWAY, Plant
from scripts.tour.screen import Screen
from scripts.tour.stop import Stop, Stopped

__all__ = ["main"]

_CANNOT_START = 3
_LIVE_SECONDS = 3.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Give the tour; 0 when all went as it should, or Ctrl-C ended it, 1 when not, 3 when it could not start."""
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True, errors="replace")
    screen = Screen()
    try:
        folder = options.start.joinpath(options.folder).resolve() if options.folder else None
        with _folder(folder) as place:
            return _run(screen, place, options)
    except BrokenPipeError:
        # `scripts/demo --once | head`: who reads has enough. Python would complain at exit otherwise.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(screen: Screen, folder: Path, options: argparse.Namespace) -> int:
    plant = Plant.make()
    hub = Hub(folder, plant.api_key)

    def end_at_once() -> None:
        hub.kill()
        if not options.folder:
            shutil.rmtree(folder, ignore_errors=True)

    stop = Stop(end_at_once)
    stop.listen()
    guide = Guide(screen, hub, plant, stop)
    try:
        code = _tour(guide, once=options.once)
    except Stopped:
        screen.goodbye("")
        code = 0
    except (FolderError, StartFailedError) as error:
        screen.error(str(error))
        code = _CANNOT_START
    except (ConnectRefusedError, NoReplyError) as error:
        screen.error(f"{error}; the hub's last line: {hub.last_words()}")
        code = 1
    finally:
        guide.close()
        ended = _stop(screen, hub, f"Its files are in {folder}." if options.folder else "Its files are removed.")
    return code or ended


def _stop(screen: Screen, hub: Hub, files: str) -> int:
    """Stop the hub, where it runs; 1 if it did not end in order."""
    if not hub.is_running:
        return 0
    screen.goodbye("Stopping: the hub commits and answers what it has read.")
    code = hub.stop()
    # One that has hardly started is ended by the signal itself.
    if code not in (0, -signal.SIGTERM):
        screen.error(f"the hub ended with code {code}; its last line: {hub.last_words()}")
        return 1
    screen.goodbye(f"The hub has stopped. {files}")
    return 0


def _tour(guide: Guide, *, once: bool) -> int:
    screen, hub = guide.screen, guide.hub
    print(screen.paint(f"enos_ingest {__version__}: a tour", "bold"))
    print()
    screen.say(
        "A hub starts on this machine, with a small plant of simulated devices that connect to it over real MQTT. You "
        "see what devices send, what they are answered, what is stored, and how values go back to them."
    )
    usual = hub.mqtt, hub.http
    hub.write_files(guide.plant.registry())
    _declare(guide)
    for wanted, given, what in zip(usual, (hub.mqtt, hub.http), ("MQTT", "HTTP"), strict=True):
        if wanted != given:
            print(f"Port {wanted.port} is taken: {what} is served on {given.port} here.")
    guide.stop.check()
    hub.start(guide.stop)
    print(f"The hub serves MQTT on {hub.mqtt} and HTTP on {hub.http}.")
    print(f"Its log is {hub.log}")

    for chapter in (
        chapters.connect,
        chapters.resume,
        chapters.sub_devices,
        chapters.resume_batch,
        chapters.integration,
        chapters.codes,
        chapters.stored,
        chapters.commands,
    ):
        guide.stop.check()
        chapter(guide)
    if guide.surprises:
        screen.error(f"{guide.surprises} answers were not as they should be, see above")
        return 1
    if once:
        print()
        screen.say(f"That was the tour. Without --once the hub goes on serving, and {GATEWAY} reports live.")
        return 0
    show_commands(guide)
    report_until_stopped(guide, _LIVE_SECONDS)
    return 0


def _declare(guide: Guide) -> None:
    """Chapter one: the registry."""
    screen = guide.screen
    screen.heading("1. A plant is declared")
    screen.say(
        "A registry file names products with their thing models, devices with their secrets, which gateway speaks for "
        "which sub-devices, operators: people who watch, and applications: software that sends values back."
    )
    print(f"\n  {screen.paint('$ enos-ingest registry apply registry.toml', 'bold')}")
    screen.lines(guide.hub.run("registry", "apply", str(guide.hub.folder / "registry.toml")))
    print()


@contextlib.contextmanager
def _folder(wanted: Path | None) -> Iterator[Path]:
    """The folder that was asked for, or one that is gone afterwards."""
    if wanted is not None:
        yield wanted
        return
    with tempfile.TemporaryDirectory(prefix="enos-ingest-demo-", ignore_cleanup_errors=True) as made:
        yield Path(made)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/demo",
        description="Start a hub with a small simulated plant, show requests, replies and stored points, then serve "
        "until Ctrl-C. It serves on the usual ports, 1883 and 8080, or on free ones where those are taken.",
    )
    parser.add_argument("--once", action="store_true", help="end after the tour")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="keep its files there (default: a temporary folder)")
    # Where relative paths start: `scripts/demo` changes to the top of the checkout.
    parser.add_argument("--from", dest="start", type=Path, default=Path.cwd(), help=argparse.SUPPRESS)
    return parser
