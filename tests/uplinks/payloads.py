"""Payloads of every kind, for hypothesis: from requests with one thing wrong to plain noise."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from hypothesis import strategies as st

from tests.cases.table import CASES
from tests.cases.world import CHANNEL, GATEWAY

__all__ = ["Sent", "messages", "near_misses"]


class Accepted(Protocol):
    """A case of a request that is accepted."""

    @property
    def topic(self) -> str: ...
    @property
    def sender(self) -> str: ...
    @property
    def request(self) -> Any: ...


class Sent(NamedTuple):
    """A payload, the topic that it goes to, and who sends it."""

    topic: str
    sender: str
    payload: bytes


_LONGEST_SEED = 3000
_SEEDS = [case for case in CASES if len(case.payload) < _LONGEST_SEED]
_ACCEPTED = [
    case
    for case in _SEEDS
    if case.code == 200 and case.sender in (GATEWAY, CHANNEL) and isinstance(case.request, dict) and not case.by_sender
]
_DOCUMENTS = [case.request for case in _SEEDS if isinstance(case.request, dict)]

_NUMBERS = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from([0, -0.0, 2**31, 2**53 + 1, 2**63, 2**64, 10**400, 1e308, 253402300799999, 1e11]),
)
_TEXTS = st.text(st.characters(exclude_categories=()), max_size=20)  # half surrogate pairs too
_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), _NUMBERS, _TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_TEXTS, inner, max_size=4)),
    max_leaves=8,
)


def messages() -> st.SearchStrategy[Sent]:
    """Any message on a topic of measurement points; those that are nearly accepted above all, as they get furthest."""
    return st.one_of(
        near_misses(_ACCEPTED),
        near_misses(_ACCEPTED),
        st.builds(
            lambda case, payload: Sent(case.topic, case.sender, payload), st.sampled_from(_ACCEPTED), _anything()
        ),
    )


@st.composite
def near_misses(draw: st.DrawFn, accepted: Sequence[Accepted]) -> Sent:
    """An accepted request with one part of its params replaced, left out or added."""
    case = draw(st.sampled_from(accepted))
    document = copy.deepcopy(case.request)
    _alter(draw, document, list(_places(document["params"])))
    return Sent(case.topic, case.sender, _encoded(document))


def _anything() -> st.SearchStrategy[bytes]:
    return st.one_of(
        _altered_documents(),
        _altered_bytes(),
        _nested(),
        _JSON.map(_encoded),
        st.binary(max_size=200),
        st.sampled_from(_ODDITIES),
        st.sampled_from(_SEEDS).map(lambda case: case.payload),
    )


@st.composite
def _altered_documents(draw: st.DrawFn) -> bytes:
    """A request of the table with up to three of its parts replaced, left out or added."""
    document = copy.deepcopy(draw(st.sampled_from(_DOCUMENTS)))
    for _ in range(draw(st.integers(1, 3))):
        _alter(draw, document, list(_places(document)))
        if not document:
            break
    return _encoded(document)


def _alter(draw: st.DrawFn, document: Any, places: list[tuple[Any, Any]]) -> None:
    """Change one place of a document."""
    holder, key = draw(st.sampled_from(places)) if places else (document, draw(st.sampled_from(list(document))))
    change = draw(st.sampled_from(["replace", "leave out", "add"]))
    if change == "replace":
        holder[key] = draw(_JSON)
    elif change == "leave out":
        del holder[key]
    elif isinstance(holder, dict):
        name = draw(st.one_of(_TEXTS, st.sampled_from(["id", "time", "value", "quality", "deviceKey", "temp"])))
        holder[name] = draw(_JSON)
    else:
        holder.append(draw(_JSON))


@st.composite
def _altered_bytes(draw: st.DrawFn) -> bytes:
    """A request of the table with some of its bytes cut out, written over or said twice."""
    payload = draw(st.sampled_from(_SEEDS)).payload
    start = draw(st.integers(0, len(payload)))
    end = draw(st.integers(0, len(payload)))
    return payload[:start] + draw(st.binary(max_size=6)) + payload[end:]


@st.composite
def _nested(draw: st.DrawFn) -> bytes:
    """A request with something nested deep in it; JSON parsers and validators have their limits at different depths."""
    document = copy.deepcopy(draw(st.sampled_from(_DOCUMENTS)))
    holder, key = draw(st.sampled_from(list(_places(document))))
    holder[key] = "here"
    depth = draw(st.one_of(st.integers(1, 1100), st.just(10_000)))
    opening, middle, closing = draw(st.sampled_from([("[", "", "]"), ('{"value":', "1", "}"), ('[{"a":', "[]", "}]")]))
    return _encoded(document).replace(b'"here"', (opening * depth + middle + closing * depth).encode())


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each member of an object and each item of an array within a document, as holder and key."""
    pairs = list(value.items() if isinstance(value, dict) else enumerate(value))
    for key, member in pairs:
        yield value, key
        if isinstance(member, dict | list):
            yield from _places(member)


def _encoded(document: Any) -> bytes:
    """JSON as lax as Python writes it: NaN, endless digits, half surrogate pairs."""
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass")


_ODDITIES = [
    b"",
    b"\0",
    b"{",
    b"{}",
    b"[]",
    b"null",
    b"\xff\xfe{\0}\0",
    b"\xef\xbb\xbf{}",
    b'{"id":"1","id":2,"id":null}',
    b'{"id":' + b"9" * 400 + b"}",
    b'{"id":"' + b"9" * 4000 + b'"}',
    b'{"id":"\\ud800"}',
    b'{"id":"\\u0000"}',
    b'{"id":1e999}',
    b'"id":' * 1000,
    b'"id"' + b" " * 1000 + b":" + b" " * 1000 + b"x",
    b"{" * 10_000,
    b"[" * 10_000 + b"]" * 10_000,
    b'{"id":"big","more":"' + b"x" * 600 * 1024 + b'"}',
    b" " * 600 * 1024,
    b"9" * 5000,
]
