"""What is known of a setting besides its type and its default."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["about"]


def about(
    text: str, *, low: float | None = None, high: float | None = None, choices: Sequence[str] = (), empty: bool = False
) -> dict[str, Any]:
    """The metadata of a setting: its help text and its range; `empty` says whether a text may be ""."""
    return {"help": text, "low": low, "high": high, "choices": tuple(choices), "empty": empty}
