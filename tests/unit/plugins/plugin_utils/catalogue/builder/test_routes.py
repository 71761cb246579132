# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The set-up of a server is followed through branches, calls and imports, and nothing of it is run."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hardened.vllm.tools.catalogue import booleans
from ansible_collections.hardened.vllm.tools.catalogue.guard import read_guard
from ansible_collections.hardened.vllm.tools.catalogue.library import Library
from ansible_collections.hardened.vllm.tools.catalogue.routes import RouteReader
from ansible_collections.hardened.vllm.tools.catalogue.standards import Standards
from hypothesis import given
from hypothesis import strategies as st

SERVER = "entrypoints__openai__api_server"


def read(library: Library, **meanings: str) -> tuple[dict[str, str], RouteReader]:
    reader = RouteReader(library, Standards({}), meanings)
    found: dict[str, Any] = {}
    for route in reader.read():
        name = f"{route.method} {route.path}"
        found[name] = booleans.either(found.get(name, booleans.FALSE), route.when)
    return {name: booleans.text(when) for name, when in found.items()}, reader


def server(body: str, top: str = "") -> dict[str, str]:
    lines = "\n".join(f"    {line}" for line in body.strip("\n").split("\n"))
    head = "import vllm.envs as envs\nfrom fastapi import FastAPI, APIRouter\nrouter = APIRouter()\n"
    start = "def build_app(args, supported_tasks, model_config):\n    app = FastAPI(openapi_url=None)\n"
    return {SERVER: f"{head}{top}\n{start}{lines}\n    return app\n"}


def test_nothing_is_run(library: Any) -> None:
    routes, _rest = read(library(**server("app.include_router(router)", top='raise SystemExit("run")')))
    assert routes == {}


@pytest.mark.parametrize(
    ("body", "routes"),
    [
        ("@app.get('/a')\ndef a(): ...", {"GET /a": "always"}),
        ("if args.tokens_only:\n    app.post('/a')(f)", {"POST /a": "--tokens-only"}),
        ("if getattr(app.state.args, 'tokens_only', False):\n    app.post('/a')(f)", {"POST /a": "--tokens-only"}),
        ("if not envs.VLLM_X:\n    return app\napp.get('/a')(f)", {"GET /a": "VLLM_X"}),
        ("if 'embed' in supported_tasks or envs.VLLM_X:\n    app.get('/a')(f)", {"GET /a": "VLLM_X or embed"}),
        ("on = args.x and not envs.VLLM_X\nif on:\n    app.get('/a')(f)", {"GET /a": "--x and not VLLM_X"}),
        ("if args.x:\n    app.get('/a')(f)\nelse:\n    app.get('/a')(f)", {"GET /a": "always"}),
        ("if args.x is None:\n    app.get('/a')(f)", {"GET /a": "not --x"}),
        ("if supported_tasks is None:\n    app.get('/a')(f)", {}),
        ("app.add_api_route('/a', f, methods=['PUT', 'DELETE'])", {"PUT /a": "always", "DELETE /a": "always"}),
        ("app.mount('/a', f)\napp.add_api_websocket_route('/b', f)", {"MOUNT /a": "always", "WEBSOCKET /b": "always"}),
        ("m = Mount('/m', f)\napp.routes.append(m)", {"MOUNT /m": "always"}),
        ("Instrumentator().add().instrument(app).expose(app)", {"GET /metrics": "always"}),
        ("r = APIRouter()\nr.get('/a')(f)\napp.include_router(r, prefix='/p')", {"GET /p/a": "always"}),
        ("try:\n    app.get('/a')(f)\nfinally:\n    app.get('/b')(f)", {"GET /a": "always", "GET /b": "always"}),
    ],
)
def test_what_registers_a_route(library: Any, body: str, routes: dict[str, str]) -> None:
    found, reader = read(library(**server(body)))
    assert found == routes
    assert reader.undecided == set()


def test_documentation_depends_on_the_application(library: Any) -> None:
    source = """
        def build_app(args):
            if args.disable_fastapi_docs:
                app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
            else:
                app = FastAPI()
            return app
    """
    found, _rest = read(library(**{SERVER: source}))
    assert set(found) == {"GET /openapi.json", "GET /docs", "GET /docs/oauth2-redirect", "GET /redoc"}
    assert set(found.values()) == {"not --disable-fastapi-docs"}


def test_routers_of_other_modules_with_their_own_conditions(library: Any) -> None:
    other = """
        from vllm import envs
        router = APIRouter()
        PATH = "/b"

        @router.get("/a")
        async def a(): ...

        if envs.VLLM_X:
            router.add_api_route(PATH, a, methods=["POST"])

        def attach_router(app):
            if not getattr(app.state.args, "enable_it", False):
                return
            app.include_router(router)
    """
    body = "from .other import attach_router as attach\nattach(app)"
    found, _rest = read(library(**server(body), entrypoints__openai__other=other))
    assert found == {"GET /a": "--enable-it", "POST /b": "--enable-it and VLLM_X"}


def test_stubs_of_a_loop_over_routes(library: Any) -> None:
    other = "router = APIRouter()\nrouter.post('/a')(f)\n"
    body = """
from .other import router as other
if not args.enable_it:
    for route in (*other.routes, *router.routes):
        app.add_api_route(route.path, f)
    return app
app.include_router(other)
"""
    found, _rest = read(library(**server(body), entrypoints__openai__other=other))
    assert found == {"POST /a": "always"}


def test_a_route_added_by_a_function_nobody_calls_is_said(library: Any) -> None:
    top = "def later(args):\n    if args.x:\n        @router.get('/a')\n        def a(): ...\n"
    found, reader = read(library(**server("app.include_router(router)", top=top)))
    assert found == {"GET /a": "--x"}
    assert [text.partition(": ")[2] for text in reader.undecided] == [
        "later is not called by build_app; taken as called"
    ]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("plugin.attach(app)", "plugin.attach(app) is not vLLM's or not fixed"),
        ("app.get(make_path())(f)", "path of app.get(make_path())"),
        ("app.include_router(make())", "app.include_router(make())"),
        ("app.routes.append(make())", "app.routes.append(make())"),
    ],
)
def test_what_cannot_be_followed_is_said(library: Any, body: str, text: str) -> None:
    _rest, reader = read(library(**server(body)))
    assert [entry.partition(": ")[2] for entry in reader.undecided] == [text]


def test_a_server_without_build_app_is_said(library: Any) -> None:
    found, reader = read(library(x="pass"))
    assert (found, reader.undecided) == ({}, {"no build_app was found"})


def test_a_test_only_running_could_tell_keeps_its_text_or_takes_its_meaning(library: Any) -> None:
    sources = server("if compute(model_config):\n    app.get('/a')(f)")
    found, reader = read(library(**sources))
    assert found == {"GET /a": "compute(model_config)"}
    assert reader.conditions.unexplained == {"compute(model_config)": "vllm/entrypoints/openai/api_server.py"}
    assert read(library(**sources), **{"compute(model_config)": "embed or classify"})[0] == {
        "GET /a": "classify or embed"
    }


def test_a_value_envs_declares_for_type_checkers_is_no_constant(library: Any) -> None:
    envs = "if TYPE_CHECKING:\n    VLLM_X: bool = False\n"
    found, _rest = read(library(**server("on = envs.VLLM_X\nif on:\n    app.get('/a')(f)"), envs=envs))
    assert found == {"GET /a": "VLLM_X"}


GUARD = """
    {constant}
    class AuthenticationMiddleware:
        def __call__(self, scope, receive, send):
            if scope["method"] == "OPTIONS":
                return
            url_path = {path}.removeprefix(root_path)
            if url_path.startswith({prefixes}) and not {check}:
                return
"""


def test_the_guard_of_old_and_new_releases(library: Any) -> None:
    old = GUARD.format(constant="", path="URL(scope=scope).path", prefixes='"/v1"', check="token in self.tokens")
    new = GUARD.format(
        constant='GUARDED = ("/v1", "/v2")',
        path="scope['path']",
        prefixes="GUARDED",
        check="secrets.compare_digest(a, b)",
    )
    before = read_guard(library(entrypoints__auth=old))
    after = read_guard(library(entrypoints__auth=new))
    assert (before["prefixes"], before["path_from"], before["constant_time"]) == (["/v1"], "url", False)
    assert (after["prefixes"], after["path_from"], after["constant_time"]) == (["/v1", "/v2"], "scope", True)
    assert after["skipped_methods"] == ["OPTIONS"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("pass", "no class AuthenticationMiddleware under vllm/entrypoints"),
        (GUARD.format(constant="", path="cleverly()", prefixes='"/v1"', check="x"), "takes the path from neither"),
        ("class AuthenticationMiddleware:\n    def __call__(self): ...\n", "0 calls of startswith"),
    ],
)
def test_a_guard_written_anew_is_refused(library: Any, source: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_guard(library(entrypoints__auth=source))


NAMES = ["a", "b", "c", "d"]
CONDITIONS: st.SearchStrategy[booleans.Condition] = st.recursive(
    st.sampled_from(NAMES).map(booleans.atom),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda pair: booleans.both(*pair)),
        st.tuples(inner, inner).map(lambda pair: booleans.either(*pair)),
        inner.map(booleans.negate),
    ),
    max_leaves=8,
)


def truth(condition: booleans.Condition) -> list[bool]:
    rows = [{name: bool(number >> place & 1) for place, name in enumerate(NAMES)} for number in range(16)]
    return [any(all(row[name] == positive for name, positive in term) for term in condition) for row in rows]


@given(CONDITIONS, CONDITIONS)
def test_conditions_keep_their_meaning(one: booleans.Condition, other: booleans.Condition) -> None:
    assert truth(booleans.both(one, other)) == [a and b for a, b in zip(truth(one), truth(other), strict=True)]
    assert truth(booleans.either(one, other)) == [a or b for a, b in zip(truth(one), truth(other), strict=True)]
    assert truth(booleans.negate(one)) == [not a for a in truth(one)]


@given(CONDITIONS)
def test_conditions_are_written_and_read_back(condition: booleans.Condition) -> None:
    assert truth(booleans.parse(booleans.text(condition))) == truth(condition)
    assert booleans.text(booleans.parse(booleans.text(condition))) == booleans.text(condition)
