"""All cases."""

from __future__ import annotations

from itertools import chain

from tests.cases import access, envelope, items, order, presence, quirks, values

__all__ = ["CASES"]

CASES = [
    case.moved(index)
    for index, case in enumerate(
        chain(
            envelope.cases(),
            items.cases(),
            access.cases(),
            presence.cases(),
            values.cases(),
            quirks.cases(),
            order.cases(),
        )
    )
]
"""Each case has a second of its own for its points, so one hub can be asked all of them."""
