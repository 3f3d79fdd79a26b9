"""The same scripts, played to mosquitto and to a hub: the same bytes, or a difference that has a reason."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from enos_ingest.protocol.credentials import Credentials
from enos_ingest.testing.hub import Hub
from tests.endpoint.conformance.device import DEVICE
from tests.endpoint.conformance.document import differences
from tests.endpoint.conformance.exchange import Said, play, render
from tests.endpoint.conformance.mosquitto import run_mosquitto
from tests.endpoint.conformance.scripts import make_scripts

NAMES = list(make_scripts(Credentials("", "", "")))
LISTED = {difference.script: difference for difference in differences()}


@pytest.fixture(scope="module")
def mosquitto() -> Iterator[int]:
    """The port of one that runs until the last of these tests has ended."""
    with run_mosquitto() as port:
        yield port


@pytest.mark.needs("mosquitto")
@pytest.mark.parametrize("name", NAMES)
def test_both_say_the_same_or_the_document_says_why(hub: Hub, mosquitto: int, name: str) -> None:
    """A difference that is not listed fails, and so does one that is listed and is none."""
    steps = make_scripts(hub.credentials(DEVICE))[name]
    theirs, ours = play(steps, "127.0.0.1", mosquitto), play(steps, hub.host, hub.port)
    found = [(left, right) for left, right in zip(theirs, ours, strict=True) if left != right]
    listed = LISTED.get(name)
    assert (listed is not None) == bool(found), found
    if listed is not None:
        assert (listed.mosquitto, listed.here) == (_all([pair[0] for pair in found]), _all([pair[1] for pair in found]))


def test_what_is_listed_is_a_script_with_a_reason() -> None:
    """Each once."""
    assert len(LISTED) == len(differences())
    for difference in LISTED.values():
        assert difference.script in NAMES
        assert difference.why


def _all(said: list[Said]) -> str:
    return "; ".join(map(render, said))
