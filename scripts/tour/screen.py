"""Text on a terminal, or in a file: headings, wrapping, colours."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

__all__ = ["Screen"]

_WIDEST = 110
"""Longer lines are hard to read."""
_WITHOUT_TERMINAL = 100

_PIECE = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^,"])+,? ?')
"""Where JSON on one line may be broken: behind a comma that stands in no string."""

_COLOURS = {"bold": "1", "dim": "2", "green": "32", "yellow": "33", "red": "31;1", "cyan": "36;1"}


class Screen:
    """Prints to standard output, with colours only where that is a terminal."""

    def __init__(self) -> None:
        terminal = sys.stdout.isatty()
        columns = shutil.get_terminal_size((_WITHOUT_TERMINAL, 24)).columns if terminal else _WITHOUT_TERMINAL
        self.width = max(40, min(columns, _WIDEST))
        self._wraps = terminal
        self._colours = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        rich = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
        self.sent, self.received, self._rule = ("→", "←", "─") if rich else (">", "<", "-")

    def paint(self, text: str, colour: str) -> str:
        """The text in a colour, where there are colours."""
        return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if self._colours else text

    def heading(self, text: str, *, gap: bool = True) -> None:
        """The title of a chapter, and an empty line behind it."""
        rule = self._rule * max(3, self.width - len(text) - 5)
        print(f"\n{self.paint(f'{self._rule * 2} {text} {rule}', 'cyan')}")
        if gap:
            print()

    def say(self, text: str) -> None:
        """A paragraph of plain text."""
        print(textwrap.fill(" ".join(text.split()), self.width, break_long_words=False, break_on_hyphens=False))

    def lines(self, text: str, indent: str = "  ") -> None:
        """The output of a command: as it is, but on a terminal with an indent where a line goes on."""
        for line in text.splitlines():
            print("\n".join(self._wrapped(line, indent)) if self._wraps else f"{indent}{line}")

    def say_typed(self, command: str) -> None:
        """A command as somebody types it."""
        print(f"  {self.paint(f'$ {command}', 'bold')}")

    def goodbye(self, text: str) -> None:
        """The last words, which nobody may be there to read."""
        with contextlib.suppress(OSError):
            self.say(text)

    def error(self, text: str) -> None:
        """One sentence about what went wrong, on standard error."""
        print(f"scripts/demo: {text}", file=sys.stderr)

    def json(self, document: Any, lead: str) -> None:
        """Print a JSON document behind a lead."""
        indent = " " * len(lead)
        for number, line in enumerate(self.layout(document, self.width - len(lead))):
            print(f"{indent if number else lead}{line}")

    def _wrapped(self, line: str, indent: str) -> list[str]:
        if line.startswith("{"):
            return [f"{indent}{part}" for part in _fill(line, self.width - len(indent), "   ")]
        text = line.lstrip()
        lead = f"{indent}{line[: len(line) - len(text)]}"
        return _wrap(text, self.width, lead, f"{indent}        ") or [""]

    def layout(self, document: Any, width: int) -> list[str]:
        """A JSON document as lines of about `width`; items of `params` stand on lines of their own."""
        whole = _dump(document)
        if len(whole) <= width or not isinstance(document, dict) or not isinstance(document.get("params"), dict | list):
            return list(_fill(whole, width, " "))
        envelope = {name: value for name, value in document.items() if name != "params"}
        lines = list(_fill(f"{_dump(envelope)[:-1]}, ", width, " "))
        params = document["params"]
        if isinstance(params, dict):
            return [*lines, *_fill(f' "params": {_dump(params)}}}', width, "   ")]
        lines.append(' "params": [')
        for number, item in enumerate(params):
            end = "," if number < len(params) - 1 else "]}"
            lines += _fill(f"   {_dump(item)}{end}", width, "     ")
        return lines


def _dump(document: Any) -> str:
    return json.dumps(document, ensure_ascii=False)


def _fill(text: str, width: int, indent: str) -> Iterator[str]:
    """Break one-line JSON into lines of at most `width`: behind a comma, or in a long string at a blank."""
    line = ""
    for piece in _PIECE.findall(text):
        if line.strip() and len(line) + len(piece.rstrip()) > width:
            yield line.rstrip()
            line = indent
        line += piece
        if len(line.rstrip()) > width:
            *full, line = _wrap(line.strip(), width, line[: len(line) - len(line.lstrip())], f"{indent}  ")
            yield from full
            line += " "
    yield line.rstrip()


def _wrap(text: str, width: int, first: str, later: str) -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=later, break_on_hyphens=False, replace_whitespace=False
    )
