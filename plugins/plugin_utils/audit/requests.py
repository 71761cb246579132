# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The requests an audit sends to a server: routes, their disguises, keys, and how fast.

Nothing they ask changes a server: a route that controls or replaces something is asked with GET, to which vLLM says 405 where it exists.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .. import catalogue

# Routes whose mere call does something, whatever the body: they are asked for with a method they do not take.
ACTING = frozenset({"code execution", "control", "model replacement", "other tenants' answers"})
UPGRADE = {
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "aGFyZGVuZWQudmxsbSEhIQ==",
    "Sec-WebSocket-Version": "13",
    "Upgrade": "websocket",
}
# Forms of /NAME that some server, proxy or normalisation takes for /NAME. FIRST and REST are its parts, HEX is the first letter as
# a percent escape.
DISGUISES = {
    "doubled slash": "//NAME",
    "dot": "/./NAME",
    "end slash": "/NAME/",
    "query": "/NAME?x=1",
    "parameter": "/NAME;x=1",
    "encoded letter": "/HEXREST",
    "doubly encoded letter": "/%25HEXREST",
    "encoded slash": "/%2fNAME",
    "backslash": "/\\NAME",
    "null byte": "/NAME%00",
    "up": "/v1/../NAME",
    "encoded up": "/v1/%2e%2e/NAME",
    "encoded slash up": "/v1/..%2fNAME",
    "parameter up": "/v1/..;/NAME",
    "up from an open route": "/v1/models/../../NAME",
    "encoded up from an open route": "/v1/models/..%2f..%2fNAME",
    "query up": "/v1/models?/../../NAME",
    "root path": "/v1/NAME",
}
# Those of them for every route: what passes a filter that compares what was written, what one that compares what it means.
LIGHT = ("doubled slash", "encoded letter", "query")
# Routes that are asked in every disguise, some of each kind.
DISGUISED = (
    "/collective_rpc",
    "/invocations",
    "/metrics",
    "/openapi.json",
    "/server_info",
    "/tokenize",
    "/v1/load_lora_adapter",
)
# A page nobody has; whoever lets it read answers lets every page.
ORIGIN = "https://origin.invalid"
FOREIGN_ORIGIN = "foreign origin"
# Methods that open routes do not have; TRACE and unknown ones nginx refuses itself, before it looks at a key.
OTHER_METHODS = ("PUT", "PATCH", "DELETE")
RAY_ROUTES = ("/api/version", "/api/jobs/", "/nodes?view=summary")
# Requests that come many at a time, to see whether a limit ends them; how many beyond the limit show that it holds, and how many in all
# a limit may need to be tried at RATE a second.
BURST_FORM = "burst"
BURST = 20
MOST_OF_A_BURST = 500
RATE = 200


def open_requests(release: str) -> list[dict[str, Any]]:
    """Return what a server of vLLM is asked that nobody planned: every route its release can have, without a good key, plainly and in disguise."""
    known = catalogue.routes(release)
    return [
        *(_request(route, key) for key in ("none", "wrong") for route in known),
        # A proxy may hide the one, a key guard the other; the page of a browser sends no key.
        *(_from_a_page(path, "none") for path in ("/v1/models", "/health")),
        *_in_disguise(known, "none"),
    ]


def ray_requests() -> list[dict[str, Any]]:
    """Return what a dashboard of Ray is asked: reading only."""
    return [
        {"method": "GET", "path": path.partition("?")[0], "target": path, "form": "plain", "key": "none"}
        for path in RAY_ROUTES
    ]


def gateway_requests(
    plan: Mapping[str, Any], gateway: Mapping[str, Any], key: str | None, limits: bool = False
) -> list[dict[str, Any]]:
    """Return what a gateway is asked: every route with each kind of key and in disguises, its own by other methods too.

    Requests without a good key are sent as slowly as the gateway lets one source (``per_minute``). With ``limits`` bursts
    come last.
    """
    known = catalogue.routes(catalogue.nearest(plan["release"]).release)
    passed = {route["path"] for route in gateway["routes"]}
    hidden = [route for route in known if route.path not in passed]
    deep = [route for route in hidden if route.path in DISGUISED]
    whole = key if key is not None else "none"
    found = [_request(route, whole) for route in known]
    taken = {(route.path, route.method) for route in known}
    found += [
        {**_request(route, whole), "method": method}
        for route in known
        if route.path in passed and route.method in ("GET", "POST")
        for method in OTHER_METHODS
        if (route.path, method) not in taken
    ]
    found.append(_from_a_page("/v1/models", whole))
    found += _in_disguise(hidden, whole)
    if whole != "none":
        found += [_request(route, "none") for route in known]
        found += _in_disguise(deep[:1], "none", LIGHT)
    found += [_request(route, "wrong") for route in known if route.path in passed or route in deep[:3]]
    failures = int(gateway["limits"]["failed_keys_per_minute"])
    found = [{**one, "per_minute": failures} if one["key"] in ("none", "wrong") else one for one in found]
    return [*found, *(_bursts(gateway, key) if limits else ())]


def _bursts(gateway: Mapping[str, Any], key: str | None) -> list[dict[str, Any]]:
    """Return the requests that go beyond the limit of failed keys, and beyond that of the tenant whose key is known."""
    request = {"method": "GET", "path": "/v1/models", "target": "/v1/models", "form": BURST_FORM, "last": True}
    found = [{**request, "key": "wrong"}] * (burst_of_failures(gateway) or 0)
    number = burst_of_tenant(gateway, key)
    return found + [{**request, "key": key}] * number if number is not None else found


def burst_of_failures(gateway: Mapping[str, Any]) -> int | None:
    """Return how many requests with a wrong key go beyond the limit of one source; None when too many would have to."""
    number = int(gateway["limits"]["failed_keys_per_minute"]) + BURST
    return number if number <= MOST_OF_A_BURST else None


def burst_of_tenant(gateway: Mapping[str, Any], key: str | None) -> int | None:
    """Return how many requests at RATE a second go beyond the limit of the tenant whose ``key`` it is; None when too many would have to."""
    tenant = next((one for one in gateway["tenants"] if f"tenants/{one['name']}/" in f"{key}"), None)
    if tenant is None or not any(route["path"] == "/v1/models" for route in gateway["routes"]):
        return None
    spare = 1 - tenant["requests_per_second"] / RATE
    if spare <= 0:
        return None
    number = math.ceil((tenant["burst"] + BURST) / spare)
    return number if number <= MOST_OF_A_BURST else None


def _in_disguise(
    routes: Iterable[catalogue.Route], key: str, forms: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Return requests for ``routes`` in disguises: in ``forms``, or some in every one and the others in the LIGHT ones."""
    return [
        {**_request(route, key), "target": target, "form": form}
        for route in routes
        for form, target in disguised(route.path)
        if form in (forms or (DISGUISES if route.path in DISGUISED else LIGHT))
    ]


def _from_a_page(path: str, key: str) -> dict[str, Any]:
    request = {"method": "GET", "path": path, "target": path, "form": FOREIGN_ORIGIN, "key": key}
    return {**request, "headers": {"Origin": ORIGIN}}


def disguised(path: str) -> Iterable[tuple[str, str]]:
    """Yield every disguise of a path: its name and what is sent."""
    name = path.lstrip("/")
    for form, pattern in DISGUISES.items():
        text = pattern.replace("HEX", f"%{ord(name[0]):02x}").replace("REST", name[1:]).replace("NAME", name)
        if text != path:
            yield form, text


def _request(route: catalogue.Route, key: str) -> dict[str, Any]:
    target = route.path.replace("{", "").replace("}", "")
    request: dict[str, Any] = {"path": route.path, "target": target, "form": "plain", "key": key}
    if route.method == "WEBSOCKET":
        return {"method": "GET", **request, "headers": UPGRADE}
    if route.method == "MOUNT" or route.danger in ACTING:
        return {"method": "GET", **request}
    return {"method": route.method, **request}
