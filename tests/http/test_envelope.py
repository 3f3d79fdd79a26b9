"""The envelope of the REST API, as the documents print it."""

from __future__ import annotations

import json
import re

import pytest

from enos_ingest.commands.refusals import CommandRefusal, RestCode
from enos_ingest.http.envelope import envelope, refused


def test_it_is_what_the_documents_print() -> None:
    """The sample of Set Measurepoint, its members in their order."""
    response = envelope(
        RestCode.OK, "Success", {"commandId": "2078724684846989312"}, request_id="7d863d517eae4f18a2776452eb1305bb"
    )
    assert response.body == (
        b'{"code":0,"msg":"Success","submsg":null,"requestId":"7d863d517eae4f18a2776452eb1305bb",'
        b'"data":{"commandId":"2078724684846989312"}}'
    )
    assert (response.status_code, response.media_type) == (200, "application/json")
    assert response.headers["cache-control"] == "no-store"


def test_a_page_of_a_search_says_which() -> None:
    """In a member that other answers do not have."""
    response = envelope(RestCode.OK, "Success", [], request_id="r", pagination={"pageNo": 1})
    assert bytes(response.body).endswith(b'"data":[],"pagination":{"pageNo":1}}')


def test_each_has_a_request_id_of_its_own() -> None:
    """32 hex digits, unless one is given."""
    ids = {json.loads(bytes(envelope(RestCode.OK, "Success").body))["requestId"] for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in ids)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (RestCode.OFFLINE, 200),
        (RestCode.DEVICE_FAILED, 200),
        (RestCode.BAD_ARGUMENT, 400),
        (RestCode.UNAUTHORIZED, 401),
        (RestCode.FORBIDDEN, 403),
        (RestCode.NOT_FOUND, 404),
        (RestCode.TOO_LONG, 413),
        (RestCode.TOO_MANY_CALLS, 429),
        (RestCode.INTERNAL, 500),
        (RestCode.BUSY, 503),
    ],
)
def test_the_http_status_follows_the_code(code: RestCode, status: int) -> None:
    """200 for what happened to a command, else what HTTP has for it."""
    response = refused(CommandRefusal(code, "why", {"commandId": "1"}), request_id="r")
    assert response.status_code == status
    assert json.loads(bytes(response.body)) == {
        "code": int(code),
        "msg": "why",
        "submsg": None,
        "requestId": "r",
        "data": {"commandId": "1"},
    }


def test_a_refusal_says_what_to_do_in_its_headers() -> None:
    """When to come again, and which credentials are wanted."""
    headers = {code: refused(CommandRefusal(code, "why")).headers for code in RestCode}
    assert {code for code, each in headers.items() if each.get("retry-after") == "1"} == {
        RestCode.TOO_MANY_CALLS,
        RestCode.BUSY,
    }
    assert headers[RestCode.UNAUTHORIZED]["www-authenticate"] == 'Bearer realm="enos-ingest"'
    assert 'error="insufficient_scope"' in headers[RestCode.FORBIDDEN]["www-authenticate"]
