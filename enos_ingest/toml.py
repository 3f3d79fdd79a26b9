"""TOML, with every fault as one sentence."""

from __future__ import annotations

import tomllib
from typing import Any

__all__ = ["parse_toml"]


def parse_toml(text: str) -> dict[str, Any]:
    """The document in a text.

    Raises:
        ValueError: what is wrong, with its line; also for what Python itself will not read, such as nesting without
            end or a number of thousands of digits.
    """
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError as error:
        end = f"at line {text.count(chr(10)) + 1}, the end of the file"
        raise ValueError(str(error).replace("at end of document", end)) from None
