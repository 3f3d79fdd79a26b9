"""The values of flags."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

__all__ = ["checkout", "number"]


def checkout(text: str) -> Path:
    """A type for argparse: a folder with a version of enos_ingest, as Python would silently take the installed one."""
    if not (Path(text) / "enos_ingest" / "__init__.py").is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is no checkout of enos_ingest")
    return Path(text).resolve()


def number(kind: type[int | float], lowest: float, highest: float) -> Callable[[str], float]:
    """A type for argparse: a number of a kind and a range."""

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = kind(lowest) - 1
        if not lowest <= value <= highest:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {lowest:g} to {highest:g}")
        return value

    return parse
