"""The worker process from outside: started, called, killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from enos_ingest.codecs.exchange import Answer, Answers, Request
from enos_ingest.codecs.worker import Arguments
from enos_ingest.exits import how_ended
from enos_ingest.logs import FewLines, get_logger

__all__ = ["WorkerEndedError", "WorkerProcess"]

log = get_logger(__name__)

_START_SECONDS = 30.0
"""Starting Python takes 0.1 s, on a machine that is busy beyond measure several."""

_KILL_SECONDS = 5.0
"""Even a killed process lives on while the kernel waits for a disk that does not answer; the hub does not."""

_FAILURE_BYTES = 16_384
"""A failure in words is shorter, escaped as JSON may be."""

_LINE_BYTES = 1000
_LINES_A_SECOND = 10

_PROGRAM = "import sys; sys.path.append(sys.argv[1]); from enos_ingest.codecs.worker import main; main()"
_ROOT = Path(__file__).parents[2]
"""The folder that the package is imported from; the worker looks there last, where it is installed long before."""

_INHERITED = frozenset(
    {"HOME", "LANG", "LANGUAGE", "PATH", "PYTHONHOME", "PYTHONPATH", "SYSTEMROOT", "TMPDIR", "TZ", "VIRTUAL_ENV"}
)


class WorkerEndedError(Exception):
    """The worker is gone, or never came; its text says how, such as `exit code 3` or `SIGSEGV`."""


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What a worker gets of the hub's environment: where Python and programs are, and the language; no settings.

    A list of what is let through, as nobody knows all the names that secrets are put under.
    """
    return {
        name: value for name, value in environ.items() if name in _INHERITED or name.startswith(("LC_", "LD_", "DYLD_"))
    }


class WorkerProcess(asyncio.SubprocessProtocol):
    """One worker process; it serves one call at a time.

    Attributes:
        loaded: the codecs that it has found; its user keeps the list.
    """

    def __init__(self, arguments: Arguments) -> None:
        self.loaded: set[str] = set()
        self._arguments = arguments
        self._answers = Answers(max(arguments.result_bytes, _FAILURE_BYTES))
        self._exited = asyncio.Event()
        self._answer: asyncio.Future[Answer] | None = None
        self._transport: asyncio.SubprocessTransport | None = None
        self._ended = False
        self._reason = ""
        self._codec = ""
        self._said = b""
        self._lines = FewLines(_LINES_A_SECOND)

    @property
    def pid(self) -> int | None:
        """The id of the process, None before `start`."""
        return self._transport.get_pid() if self._transport else None

    @property
    def ended(self) -> bool:
        """Whether it serves no more calls."""
        return self._ended

    async def start(self) -> None:
        """Start the process and wait until it is ready; raises WorkerEndedError. To be killed also when this fails."""
        # -P: the folder that the hub happens to run in is no place to import from. faulthandler: a crash says where.
        command = [sys.executable, "-P", "-X", "faulthandler", "-c", _PROGRAM, str(_ROOT), *self._arguments.to_argv()]
        self._answer = asyncio.get_running_loop().create_future()
        try:
            await asyncio.get_running_loop().subprocess_exec(
                lambda: self,
                *command,
                env=clean_environment(os.environ),
                # A group of its own: Ctrl-C at the hub's terminal is not meant for it, and a kill reaches its children.
                start_new_session=True,
            )
        except OSError as error:
            raise WorkerEndedError(error.strerror or str(error)) from None
        await self._next_answer(_START_SECONDS)

    async def call(self, request: Request) -> Answer:
        """The answer to a request; raises TimeoutError after its limit, WorkerEndedError where the process ends.

        After either, and where the caller is cancelled, the process is in no known state: it must be killed.
        """
        if self._ended or self._transport is None:
            raise WorkerEndedError(await self._how())
        self._codec = request.codec
        self._answer = asyncio.get_running_loop().create_future()
        stdin = cast("asyncio.WriteTransport", self._transport.get_pipe_transport(0))
        stdin.write(request.to_bytes())
        return await self._next_answer(request.limit / 1000)

    async def kill(self) -> None:
        """End it at once, whatever it does; the second time does nothing."""
        self._end("it was stopped")
        if self._transport is None:
            return
        if self._transport.get_returncode() is None:
            self._kill_group()
        try:
            async with asyncio.timeout(_KILL_SECONDS):
                await self._exited.wait()
        except TimeoutError:
            log.error("a codec's worker process does not end although it was killed", pid=self._transport.get_pid())
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The process runs."""
        # uvloop's has the methods and not the type.
        self._transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Answers on its standard output; on standard error what codecs print."""
        if fd == 2:  # standard error
            self._print(data)
            return
        try:
            for answer in self._answers.feed(data):
                if self._answer is None or self._answer.done():
                    raise ValueError("an answer that nobody asked for")  # noqa: TRY301
                self._answer.set_result(answer)
        except ValueError as error:
            self._end(f"it sent {error}")

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's form
        """It closed a pipe: all it said on that was heard."""
        if fd == 1:
            self._end()
        elif fd == 2 and self._said:  # standard error
            self._print(b"\n")

    def process_exited(self) -> None:
        """It ended; what it said before may still be on its way.

        What it has started goes with it: it would live on for ever, and its copies of the pipes hide that it has ended.
        """
        self._exited.set()
        self._kill_group()

    def _kill_group(self) -> None:
        """Kill the process and all that it has started; to be called no later than right after its end."""
        # Of a group that nobody is left in, macOS says that it is not ours.
        if self._transport is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._transport.get_pid(), signal.SIGKILL)

    def _end(self, reason: str = "") -> None:
        """No more calls. `reason`: why, where it is not the process itself that ends."""
        self._ended = True
        self._reason = self._reason or reason
        if self._answer is not None and not self._answer.done():
            self._answer.cancel()

    async def _next_answer(self, seconds: float) -> Answer:
        assert self._answer is not None
        answer = self._answer
        done, _ = await asyncio.wait({answer}, timeout=seconds)
        if not done:
            raise TimeoutError
        if answer.cancelled():
            raise WorkerEndedError(await self._how())
        return answer.result()

    async def _how(self) -> str:
        """How it ended, in words; where it did so by itself, that is known a moment after its output has closed."""
        if self._reason:
            return self._reason
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_KILL_SECONDS):
                await self._exited.wait()
        code = self._transport.get_returncode() if self._transport else None
        if code is None:
            return "it closed its output"
        return how_ended(code)

    def _print(self, data: bytes) -> None:
        """Hand lines on to the log, some a second; a line without end is cut."""
        *lines, self._said = (self._said + data).split(b"\n")
        if len(self._said) > _LINE_BYTES:
            lines.append(self._said)
            self._said = b""
        for line in filter(None, map(bytes.rstrip, lines)):
            unsaid = self._lines.next()
            if unsaid is not None:
                more = {"more": unsaid} if unsaid else {}
                text = line[:_LINE_BYTES].decode("utf-8", "backslashreplace")
                log.warning("a codec printed", codec=self._codec, text=text, **more)
