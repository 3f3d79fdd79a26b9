"""The OpenAPI document says what the hub does, and the hub does what it says."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from starlette.routing import Route

from enos_ingest import __version__
from enos_ingest.commands.command import Command, Kind, State
from enos_ingest.commands.refusals import RestCode
from enos_ingest.commands.search import DEFAULT_PAGE_SIZE, MAX_CHARACTERS, MAX_PAGE, MAX_PAGE_SIZE, MAX_SORTERS, MEMBERS
from enos_ingest.http.app import create_app
from enos_ingest.http.arguments import PENDING_TTL_SECONDS, TIMEOUT_SECONDS
from enos_ingest.http.command_document import command_document
from enos_ingest.http.commands import ACTIONS
from enos_ingest.http.openapi import describe_api
from enos_ingest.http.tokens import TokenCode
from tests.commands.parts import DEVICE
from tests.http.commands_site import COMMANDS, PRODUCT, Site
from tests.http.serving import serving
from tests.http.test_app import parts

DOCUMENT = describe_api()
SCHEMAS = DOCUMENT["components"]["schemas"]
PARAMETERS = DOCUMENT["components"]["parameters"]
CALLS = DOCUMENT["paths"][COMMANDS]


def check(instance: object, schema: dict[str, Any]) -> None:
    """Raise where an instance does not match a schema of the document."""
    # Formats are checked as well: `createLocaltime` is a date-time.
    whole = {**schema, "components": DOCUMENT["components"]}
    jsonschema.Draft202012Validator(whole, format_checker=jsonschema.FormatChecker()).validate(instance)


def named(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def resolve(node: dict[str, Any]) -> dict[str, Any]:
    """What a reference into the document stands for."""
    reference = node.get("$ref")
    if reference is None:
        return node
    found: Any = DOCUMENT
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return dict(found)


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_every_route_and_method_is_described() -> None:
    """And none that there is not; HEAD goes with GET."""
    app = create_app(parts(list, open_metrics=True))
    served = {
        (route.path, method.lower())
        for route in app.routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert served == {(path, method) for path, method, _ in operations()}


def test_every_code_is_described_under_its_http_status() -> None:
    """Of calls about commands, and of the token service."""
    statuses: dict[int, int] = {}
    for status, response in CALLS["post"]["responses"].items():
        schema = resolve(response)["content"]["application/json"]["schema"]
        for variant in schema.get("anyOf", [schema]):
            code = resolve(variant)["properties"]["code"]
            statuses.update(dict.fromkeys(code.get("enum", [code.get("const")]), int(status)))
    assert statuses == {int(code): code.http_status for code in RestCode}
    shared = {RestCode.TOO_LONG, RestCode.TOO_MANY_CALLS}
    assert set(SCHEMAS["Token"]["properties"]["status"]["enum"]) == {*map(int, TokenCode), *map(int, shared)}


def test_every_action_is_described_with_its_parameters() -> None:
    """Under the methods that it takes."""
    for method in ("get", "post"):
        action, *others = map(resolve, CALLS[method]["parameters"])
        served = [name for name, each in ACTIONS.items() if method.upper() in each.methods]
        assert sorted(action["schema"]["enum"]) == sorted(served)
        taken = {name for each in served for name in ACTIONS[each].parameters}
        assert {each["name"] for each in others} == {"orgId", *taken}
        required = {each["name"] for each in (action, *others) if each["required"]}
        assert required == {"action", "orgId"}
        assert all(f"`{name}`" in CALLS[method]["description"] for name in served)


def test_ranges_and_defaults_are_those_that_hold() -> None:
    """Of times, and of pages."""
    for name, allowed, default in (("timeout", TIMEOUT_SECONDS, 30), ("pendingTtl", PENDING_TTL_SECONDS, 0)):
        schema = PARAMETERS[name]["schema"]
        assert schema == {"type": "integer", "minimum": allowed[0], "maximum": allowed[-1], "default": default}
    search = SCHEMAS["SearchBody"]["properties"]
    assert search["expression"]["maxLength"] == MAX_CHARACTERS
    page = search["pagination"]["properties"]
    assert (page["pageNo"]["maximum"], page["pageSize"]["maximum"]) == (MAX_PAGE, MAX_PAGE_SIZE)
    assert (page["pageSize"]["default"], page["sorters"]["maxItems"]) == (DEFAULT_PAGE_SIZE, MAX_SORTERS)


def test_a_command_is_described_member_by_member() -> None:
    """As it is shown, and as a search can ask for its members."""
    command = Command("1" * 18, DEVICE, Kind.SET_MEASUREPOINT, "x", 1, "t", b"", 30, 0, 1_795_221_524_565, "scada")
    document = command_document(command, "org", "asset")
    check(document, named("Command"))
    assert list(document) == list(SCHEMAS["Command"]["properties"]) == list(MEMBERS)
    assert set(SCHEMAS["State"]["enum"]) == set(map(int, State))


def test_every_example_is_one() -> None:
    """Of bodies and of answers."""
    count = 0
    for _, _, operation in operations():
        bodies = [operation["requestBody"]] if "requestBody" in operation else []
        for part in [*bodies, *map(resolve, operation["responses"].values())]:
            for content in part.get("content", {}).values():
                for example in content.get("examples", {}).values():
                    check(example["value"], content["schema"])
                    count += 1
    check(SCHEMAS["Command"]["examples"][0], named("Command"))
    assert count > 10


@pytest.mark.parametrize(("key", "status"), [("", 401), ("key-control", 403), ("key-read", 200), ("key-admin", 200)])
def test_the_document_is_served_to_whom_the_metrics_are(key: str, status: int) -> None:
    """It names every way in."""

    async def ask() -> None:
        async with serving(create_app(parts(list, open_metrics=False))) as client:
            response = await client.get("/openapi.json", headers={"Authorization": f"Bearer {key}"} if key else {})
            assert response.status_code == status
            if status == 200:
                assert response.headers["content-type"] == "application/json"
                assert response.json() == DOCUMENT
                assert response.json()["info"]["version"] == __version__

    asyncio.run(ask())


def test_what_the_hub_answers_is_what_is_described(site: Site) -> None:
    """Each action, by the schema that its description names; and refusals."""
    device = {"productKey": PRODUCT, "deviceKey": "zBAofs6D4s"}
    with site.hub.connect(f"{PRODUCT}/zBAofs6D4s") as client:
        client.on_command(lambda command: {"applied": 1} if command.method.endswith("limit") else None)
        command = site.set().json()
        check(command, named("MeasurepointSet"))
        check(site.invoke().json(), named("ServiceInvoked"))
        client.on_command(lambda _: 2001)
        check(site.set().json(), named("Refused"))
    check(site.set(pendingTtl=60).json(), named("MeasurepointSet"))
    check(site.invoke(pendingTtl=60).json(), named("ServiceInvoked"))
    check(site.set().json(), named("Refused"))
    check(site.call("cancel", device).json(), named("CanceledCommands"))
    got = site.call("get", {"commandId": command["data"]["commandId"]}, method="GET").json()
    check(got, named("OneCommand"))
    check(site.call("search", device).json(), named("CommandPage"))
    check(site.call("search", device, b'{"projection":["state"]}').json(), named("CommandPage"))
    check(site.call("search", {"orgId": ""}).json(), named("BadArgument"))
    check(site.call("search", {"orgId": "o"}).json(), named("NotFound"))
    check(site.call("search", {}, application="remote").json(), named("Forbidden"))
    check(site.call("search", {}, application=None).json(), named("Unauthorized"))
    check(site.set(body=b"x" * 2_000_000).json(), named("TooLong"))
    check(site.http.get("/readyz").json(), named("Readiness"))
    with pytest.raises(jsonschema.ValidationError):
        check(got, named("CommandPage"))
