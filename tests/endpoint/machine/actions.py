"""What a device may send, as hypothesis makes it up."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from hypothesis import strategies as st

from enos_ingest.endpoint.packets import encode_publish
from tests.endpoint.machine.model import FILTERS, NOT_GRANTED, UNRELATED, Report
from tests.endpoint.machine.site import PACKET_BYTES, SUBSCRIPTIONS
from tests.endpoint.raw import DISCONNECT
from tests.endpoint.site import resume, resume_topic

__all__ = [
    "AGAIN", "DRAFTS", "KEPT", "LAST_WORDS", "LISTENING", "RECEIPTS", "SLICES", "TIMES_APART", "Acknowledge", "Action",
    "Again", "Draft", "Ping", "Release", "Subscribe", "Unsubscribe",
]  # fmt: skip

TIMES = 5
TIMES_APART = 1000
"""Each run has a span of time of its own, on one hub."""

LAST_WORDS = {
    "finish": b"",
    "disconnect": DISCONNECT,
    "malformed": b"\x00\x00",
    "too long": encode_publish(resume_topic("alone"), bytes(PACKET_BYTES), qos=1, packet_id=1),
}
"""After which the hub closes a connection, and has taken all that came before."""


class Draft(NamedTuple):
    """A PUBLISH to be: what of, how, and how long its id is."""

    kind: str
    qos: int
    packet_id: int
    time: int = 0
    padding: int = 0

    def report(self, run: int, number: int) -> Report:
        """The message that is this number of a run: no other has its id, nor its value."""
        identifier = f"{run}.{number}.{'' if self.kind == 'oversized' else 'x' * self.padding}"
        time = run * TIMES_APART + self.time
        topic = resume_topic("alone")
        match self.kind:
            case "good":
                return Report(topic, resume(number, time=time, identifier=identifier), identifier, 200, time, number)
            case "bad":
                return Report(topic, resume("none", time=time, identifier=identifier), identifier, 1204)
            case "unreadable":
                return Report(topic, f'{{"id":"{identifier}", what'.encode(), identifier, 1206)
            case "oversized":
                payload = resume("x" * 1500, name="text", time=time, identifier=identifier)
                return Report(topic, payload, identifier, 1206)
            case "denied":
                payload = resume(number, time=time, identifier=identifier)
                return Report(resume_topic("other"), payload, identifier, 1212)
        return Report("plant/line", b"runs", identifier, None)


class Again(NamedTuple):
    """What was sent before, on this connection or an earlier one, counted from the last: same id, same time, DUP."""

    back: int


class Release(NamedTuple):
    """PUBREL, of all that PUBREC has come for, or of nothing that there was."""

    is_unasked: bool


class Subscribe(NamedTuple):
    """SUBSCRIBE to topics of replies; more of them than the limit allows, and others' as well."""

    filters: list[str]
    qos: int


class Unsubscribe(NamedTuple):
    """UNSUBSCRIBE, from what is subscribed to or not."""

    filters: list[str]


class Acknowledge(NamedTuple):
    """PUBACK of replies that have come: `all`, `first`, `last`; or of an `unknown` one."""

    which: str


class Ping(NamedTuple):
    """PINGREQ."""


Action: TypeAlias = Draft | Again | Release | Subscribe | Unsubscribe | Acknowledge | Ping

_WANTED = st.lists(st.sampled_from([*FILTERS, UNRELATED, NOT_GRANTED]), min_size=1, max_size=SUBSCRIPTIONS)
_ENDED = st.lists(st.sampled_from([*FILTERS]), min_size=1, max_size=SUBSCRIPTIONS)

DRAFTS = st.builds(
    Draft,
    st.sampled_from(["good", "good", "good", "bad", "unreadable", "oversized", "denied", "nothing"]),
    st.sampled_from([1, 2, 0]),
    st.sampled_from([1, 2, 3, 1, 2, 3, 4]),
    st.integers(0, TIMES - 1),
    st.sampled_from([0, 100, 800]),
)

AGAIN = st.builds(Again, st.integers(1, 20))

LISTENING: st.SearchStrategy[Action] = st.one_of(
    st.builds(Subscribe, _WANTED, st.integers(0, 2)),
    st.builds(Unsubscribe, _ENDED),
)

RECEIPTS: st.SearchStrategy[Action] = st.one_of(
    st.builds(Release, st.booleans()),
    st.builds(Acknowledge, st.sampled_from(["all", "first", "last", "unknown"])),
    st.just(Ping()),
)

SLICES = st.lists(st.integers(1, 300), max_size=4)
"""How the first bytes of a burst are cut."""

KEPT = st.sampled_from([0, 0, 0, 1, 30, 100_000])
"""How many of its last bytes leave with the next."""
