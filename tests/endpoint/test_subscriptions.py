"""The filters of a session: which QoS a message goes with, or that it does not go."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from enos_ingest.endpoint.subscriptions import Subscriptions
from enos_ingest.protocol.topics import filter_matches

TOPIC = "/sys/P/d/thing/x_reply"
FILTERS = (TOPIC, "/sys/P/d/#", "/sys/+/+/thing/x_reply", "/sys/P/d/thing/y_reply", "/sys/P/d/thing/+")


def test_without_any_subscription_messages_go_with_qos_1() -> None:
    """Three of the four official SDKs never subscribe to what the hub sends by itself."""
    assert Subscriptions(10).qos(TOPIC) == 1


def test_a_subscription_caps_the_qos() -> None:
    """The highest of those that cover the topic counts [MQTT-3.3.5-1], and never more than 1."""
    held = Subscriptions(10)
    held.add("/sys/P/d/#", 0)
    assert held.qos(TOPIC) == 0
    held.add(TOPIC, 2)
    assert held.qos(TOPIC) == 1
    held.add(TOPIC, 0)
    assert held.qos(TOPIC) == 0


def test_what_was_unsubscribed_is_silent() -> None:
    """Whether or not it was held before, until it is subscribed to again; other topics go on."""
    held = Subscriptions(10)
    held.remove(TOPIC)
    assert held.qos(TOPIC) is None
    assert held.qos("/sys/P/d/thing/y_reply") == 1
    held.add("/sys/P/d/#", 0)
    assert held.qos(TOPIC) == 0
    held.remove("/sys/P/d/#")
    assert held.qos(TOPIC) is held.qos("/sys/P/d/thing/y_reply") is None
    held.add(TOPIC, 1)
    assert held.qos(TOPIC) == 1


def test_what_a_held_filter_covers() -> None:
    """Not what goes without any, and not what was ended."""
    held = Subscriptions(10)
    assert not held.covers(TOPIC)
    held.add(TOPIC, 0)
    held.add("/sys/+/+/thing/y", 1)
    assert [held.covers(each) for each in (TOPIC, "/sys/P/d/thing/y", "/sys/P/d/thing/z")] == [True, True, False]
    held.remove("/sys/+/+/thing/y")
    assert not held.covers("/sys/P/d/thing/y")


def test_filters_are_bounded() -> None:
    """Those that are held, those that are ended, and the topics that were asked for."""
    held = Subscriptions(2)
    assert [held.add(f"/sys/P/d/{number}", 1) for number in range(3)] == [True, True, False]
    assert held.add("/sys/P/d/0", 0)
    assert len(held) == 2
    for number in range(10, 20):
        held.remove(f"/sys/P/d/{number}")
    assert [held.qos(f"/sys/P/d/{number}") for number in (17, 18, 19)] == [1, None, None]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.sampled_from(FILTERS), st.integers(0, 2)),
            st.tuples(st.just("remove"), st.sampled_from(FILTERS), st.just(0)),
        )
    )
)
def test_any_order_gives_what_the_last_words_say(steps: list[tuple[str, str, int]]) -> None:
    """As a look at everything that was said shows it, asked at each step, so that nothing stale is remembered."""
    held = Subscriptions(10)
    said: dict[str, int | None] = {}
    for what, topic_filter, qos in steps:
        if what == "add":
            held.add(topic_filter, qos)
        else:
            held.remove(topic_filter)
        said[topic_filter] = min(qos, 1) if what == "add" else None
        covering = [granted for name, granted in said.items() if filter_matches(name, TOPIC)]
        granted = [value for value in covering if value is not None]
        expected = max(granted) if granted else (None if covering else 1)
        assert held.qos(TOPIC) == expected


def test_what_is_remembered_of_a_filter_is_bounded() -> None:
    """No filter of the protocol is so long, or has so many levels; MQTT's own bound is 65 535 of both."""
    held = Subscriptions(2000)
    for too_long in ("x" * 513, "/".join("x" * 33)):
        assert not held.add(too_long, 1)
        held.remove(too_long)
    assert held.add("x" * 512, 1)
    assert held.add("/".join("x" * 32), 1)
    assert len(held) == 2


def test_filters_with_wildcards_have_a_bound_of_their_own() -> None:
    """Each of them is looked at for each new topic; those of the last who were ended are remembered."""
    held = Subscriptions(2000)
    granted = [held.add(f"/sys/{number}/+", 1) for number in range(150)]
    assert granted == [True] * 100 + [False] * 50
    assert held.add("/sys/0/+", 0)
    for number in range(200, 350):
        held.remove(f"/sys/{number}/+")
    assert [held.qos(f"/sys/{number}/x") for number in (249, 250, 349)] == [1, None, None]


def test_topics_that_were_asked_for_are_forgotten() -> None:
    """When there are too many."""
    held = Subscriptions(2)
    held.add("/sys/#", 0)
    assert [held.qos(f"/sys/{number}") for number in (1, 2, 3, 1)] == [0, 0, 0, 0]
