"""All cases."""

from __future__ import annotations

from itertools import chain

from tests.cases.facts import attributes, common, events, tags

__all__ = ["FACT_CASES"]

FACT_CASES = [*chain(common.cases(), attributes.cases(), events.cases(), tags.cases())]
