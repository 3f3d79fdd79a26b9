"""The topics of attributes, events and tags, each with params that it takes."""

from __future__ import annotations

from tests.cases.case import T
from tests.cases.facts.case import ABSENT, Topic

__all__ = [
    "ALARM",
    "DELETE",
    "DEVICE_TOPICS",
    "INT_ATTRIBUTES",
    "INT_ATTRIBUTES_OLD",
    "INT_EVENTS",
    "QUERY",
    "TAG_DELETE",
    "TAG_QUERY",
    "TAG_UPDATE",
    "TOPICS",
    "UPDATE",
]

UPDATE = Topic("attribute update", "thing/attribute/update", "thing.attribute.update", {"attributes": {"site": "x"}})
QUERY = Topic("attribute query", "thing/attribute/query", "thing.attribute.query", {"attributes": ["site"]})
DELETE = Topic("attribute delete", "thing/attribute/delete", "thing.attribute.delete", {"attributes": ["site"]})
ALARM = Topic("event", "thing/event/alarm/post", ABSENT, {"events": {"level": 3}, "time": T})
_TAG = {"tagKey": "k", "tagValue": "v"}
TAG_UPDATE = Topic("tag update", "thing/tag/update", "thing.tag.update", [_TAG], needs_model=False)
TAG_QUERY = Topic("tag query", "thing/tag/query", "thing.tag.query", {"tags": ["k"]}, needs_model=False)
TAG_DELETE = Topic("tag delete", "thing/tag/delete", "thing.tag.delete", {"tags": ["k"]}, needs_model=False)
INT_ATTRIBUTES = Topic(
    "integration attributes",
    "integration/attribute/post",
    "integration.attribute.post",
    [{"deviceKey": "direct", "attributes": {"site": "x"}}],
)
INT_ATTRIBUTES_OLD = INT_ATTRIBUTES._replace(
    name="integration attributes, old topic", action="integration/attributes/post"
)
INT_EVENTS = Topic(
    "integration events",
    "integration/event/post",
    ABSENT,
    [{"deviceKey": "direct", "events": {"alarm": {"level": 3}}, "time": T}],
)

DEVICE_TOPICS = (UPDATE, QUERY, DELETE, ALARM, TAG_UPDATE, TAG_QUERY, TAG_DELETE)
TOPICS = (*DEVICE_TOPICS, INT_ATTRIBUTES, INT_ATTRIBUTES_OLD, INT_EVENTS)
