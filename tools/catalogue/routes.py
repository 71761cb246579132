# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The routes of the API server: ``build_app`` is followed through its calls, under the conditions of its branches."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator

from . import booleans
from .booleans import Condition
from .conditions import Conditions
from .library import Library, imported_names
from .names import Names, is_call_of
from .standards import Standards
from .values import Arguments, Expression, Frame, Function, Registration, Router, Routers, Tasks, Value

METHODS = frozenset({"get", "post", "put", "delete", "patch", "head", "options", "websocket"})
DOCS = {
    "openapi_url": ("/openapi.json",),
    "docs_url": ("/docs", "/docs/oauth2-redirect"),
    "redoc_url": ("/redoc",),
}
ENTRY_POINTS = ("vllm.entrypoints.launchers.app", "vllm.entrypoints.openai.api_server")


class RouteReader(Names):
    """Follows the set-up of the API server of one release.

    ``registrations`` are the routes it found, ``undecided`` says what it could not follow.
    """

    def __init__(self, library: Library, standards: Standards, meanings: dict[str, str]) -> None:
        super().__init__(library)
        self.standards = standards
        self.conditions = Conditions(self, meanings)
        self.undecided: set[str] = set()
        self._walked: set[int] = set()
        self._depth = 0

    def read(self) -> list[Registration]:
        """Return every route the application can get, each with its condition."""
        for name in ENTRY_POINTS:
            module = self.library.module(name)
            found = module and self.library.resolve(module, "build_app")
            if isinstance(found, tuple) and isinstance(found[1], ast.FunctionDef):
                self._call_function(Function(found[0], found[1]), {}, booleans.TRUE)
                self._walk_helpers()
                return list(self._collect(self.application, booleans.TRUE, frozenset()))
        self.undecided.add("no build_app was found")
        return []

    def _walk_helpers(self) -> None:
        """Walk the functions of the modules with routers that nobody called: they add routes when the server starts."""
        for frame in list(self.frames.values()):
            for node in frame.module.tree.body:
                if isinstance(node, ast.FunctionDef) and id(node) not in self._walked and _registers(node):
                    self.undecided.add(f"{frame.module.path}: {node.name} is not called by build_app; taken as called")
                    self._call_function(Function(frame.module, node), {}, booleans.TRUE)

    def _collect(self, router: Router, condition: Condition, seen: frozenset[int]) -> Iterator[Registration]:
        for route in router.routes:
            when = booleans.both(condition, route.when)
            if when != booleans.FALSE:
                yield Registration(route.method, route.path, when, route.file)
        for other, when, prefix in router.included:
            if id(other) in seen:
                continue
            for route in self._collect(other, booleans.both(condition, when), seen | {id(router)}):
                yield Registration(route.method, prefix + route.path, route.when, route.file)

    def _call_function(self, function: Function, given: dict[str, Value], condition: Condition) -> None:
        if self._depth > 25:
            self.undecided.add(f"{function.module.path}: {function.node.name} calls itself")
            return
        self._walked.add(id(function.node))
        frame = Frame(function.module, dict(given))
        parameters = [*function.node.args.posonlyargs, *function.node.args.args, *function.node.args.kwonlyargs]
        for parameter in parameters:
            if parameter.arg not in frame.names:
                default = _well_known(parameter.arg, self.application)
                if default is not None:
                    frame.names[parameter.arg] = default
        self._depth += 1
        self.run(function.node.body, frame, condition)
        self._depth -= 1

    def run(self, body: list[ast.stmt], frame: Frame, condition: Condition) -> Condition:
        """Walk statements that run under ``condition``; return the condition under which their end is reached."""
        for statement in body:
            if condition == booleans.FALSE:
                break
            condition = self._statement(statement, frame, condition)
        return condition

    def _statement(self, statement: ast.stmt, frame: Frame, condition: Condition) -> Condition:
        match statement:
            case ast.If():
                test = self.conditions.read(statement.test, frame)
                then = self.run(statement.body, frame, booleans.both(condition, test))
                other = self.run(statement.orelse, frame, booleans.both(condition, booleans.negate(test)))
                return booleans.either(then, other)
            case ast.Return() | ast.Raise():
                self._calls(statement, frame, condition)
                return booleans.FALSE
            case ast.For():
                self._bind_loop(statement, frame)
                self.run(statement.body, frame, condition)
            case ast.Try():
                condition = self.run([*statement.body, *statement.orelse, *statement.finalbody], frame, condition)
            case ast.With():
                condition = self.run(statement.body, frame, condition)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                for decorator in reversed(statement.decorator_list):
                    self._decorator(decorator, frame, condition)
                frame.names[statement.name] = Function(frame.module, statement)
            case ast.Import() | ast.ImportFrom():
                for name, imported in imported_names(statement, frame.module.package):
                    frame.names[name] = self.imported(imported)
            case ast.Assign() | ast.AnnAssign():
                self._assign(statement, frame, condition)
            case ast.Expr():
                self._calls(statement, frame, condition)
        return condition

    def _bind_loop(self, statement: ast.For, frame: Frame) -> None:
        if isinstance(statement.target, ast.Name) and isinstance(statement.iter, ast.Tuple):
            members = [
                self.value(item.value.value, frame)
                for item in statement.iter.elts
                if isinstance(item, ast.Starred)
                and isinstance(item.value, ast.Attribute)
                and item.value.attr == "routes"
            ]
            frame.names[statement.target.id] = Routers(tuple(item for item in members if isinstance(item, Router)))

    def _assign(self, statement: ast.Assign | ast.AnnAssign, frame: Frame, condition: Condition) -> None:
        if statement.value is None:
            return
        self._calls(statement, frame, condition)
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        for target in targets:
            if not isinstance(target, ast.Name):
                continue
            # A module's router is there before its top level runs, so that modules may refer to each other.
            if not (is_call_of(statement.value, "APIRouter") and isinstance(frame.names.get(target.id), Router)):
                frame.names[target.id] = self.value(statement.value, frame)

    def _calls(self, statement: ast.stmt, frame: Frame, condition: Condition) -> None:
        for node in ast.walk(statement):
            if isinstance(node, ast.Call):
                self._call(node, frame, condition)

    def _decorator(self, node: ast.expr, frame: Frame, condition: Condition) -> None:
        self.standards.decorated(self, node, frame, condition)
        for call in ast.walk(node):
            if isinstance(call, ast.Call):
                self._call(call, frame, condition)

    def _call(self, node: ast.Call, frame: Frame, condition: Condition) -> None:
        if is_call_of(node, "FastAPI"):
            self._documentation(node, frame, condition)
            return
        if isinstance(node.func, ast.Attribute):
            if node.func.attr in ("expose", "instrument") and "Instrumentator(" in ast.unparse(node.func.value):
                if node.func.attr == "expose":
                    self._add(self.application, "GET", "/metrics", frame, condition)
                return
            owner = self.value(node.func.value, frame)
            if isinstance(owner, Router):
                self._router_call(owner, node.func.attr, node, frame, condition)
                return
            if node.func.attr == "append" and ast.unparse(node.func.value).endswith(".routes"):
                self._append(node, frame, condition)
                return
        self._follow(node, frame, condition)

    def _follow(self, node: ast.Call, frame: Frame, condition: Condition) -> None:
        function = self.value(node.func, frame)
        arguments = [self.value(argument, frame) for argument in node.args]
        named = {item.arg: self.value(item.value, frame) for item in node.keywords if item.arg}
        if not any(isinstance(value, Router) for value in itertools.chain(arguments, named.values())):
            return
        if isinstance(function, Function):
            names = [parameter.arg for parameter in function.node.args.args]
            self._call_function(function, {**dict(zip(names, arguments, strict=False)), **named}, condition)
        elif not self.standards.called(function):
            self.undecided.add(f"{frame.module.path}: {ast.unparse(node.func)}(app) is not vLLM's or not fixed")

    def _router_call(self, owner: Router, name: str, node: ast.Call, frame: Frame, condition: Condition) -> None:
        if name == "include_router":
            other = self.value(node.args[0], frame)
            prefix = next((self._text(item.value, frame) for item in node.keywords if item.arg == "prefix"), "")
            if isinstance(other, Router):
                owner.included.append((other, condition, prefix or ""))
            else:
                self.undecided.add(f"{frame.module.path}: {ast.unparse(node)}")
        elif name in METHODS or name in ("add_api_route", "add_route", "add_api_websocket_route", "api_route", "mount"):
            self._route_call(owner, name, node, frame, condition)

    def _route_call(self, owner: Router, name: str, node: ast.Call, frame: Frame, condition: Condition) -> None:
        written = (
            node.args[0] if node.args else next((item.value for item in node.keywords if item.arg == "path"), None)
        )
        if isinstance(written, ast.Attribute):
            group = self.value(written.value, frame)
            if isinstance(group, Routers):
                owner.included.extend((member, condition, "") for member in group.members)
                return
        path = self._text(written, frame) if written is not None else None
        if path is None:
            self.undecided.add(f"{frame.module.path}: path of {ast.unparse(node)[:80]}")
            return
        for method in self._methods(name, node, frame):
            self._add(owner, method, path, frame, condition)

    def _methods(self, name: str, node: ast.Call, frame: Frame) -> list[str]:
        if name in METHODS:
            return [name.upper()]
        if name == "mount":
            return ["MOUNT"]
        if name == "add_api_websocket_route":
            return ["WEBSOCKET"]
        for item in node.keywords:
            if item.arg == "methods":
                found = self.library.constant(frame.module, item.value)
                return [str(method) for method in found] if isinstance(found, list | tuple) else []
        return ["GET"]

    def _append(self, node: ast.Call, frame: Frame, condition: Condition) -> None:
        appended = self.value(node.args[0], frame)
        call = appended.node if isinstance(appended, Expression) else None
        if is_call_of(call, "Mount") and isinstance(call, ast.Call):
            path = self._text(call.args[0], frame)
            if path is not None:
                self._add(self.application, "MOUNT", path, frame, condition)
                return
        self.undecided.add(f"{frame.module.path}: {ast.unparse(node)}")

    def _documentation(self, node: ast.Call, frame: Frame, condition: Condition) -> None:
        off = {item.arg for item in node.keywords if isinstance(item.value, ast.Constant) and item.value.value is None}
        for keyword, paths in DOCS.items():
            # Without a schema there is nothing to document: FastAPI then serves none of them.
            if keyword not in off and "openapi_url" not in off:
                for path in paths:
                    self._add(self.application, "GET", path, frame, condition)

    def _add(self, owner: Router, method: str, path: str, frame: Frame, condition: Condition) -> None:
        owner.routes.append(Registration(method, path, condition, frame.module.path))

    def add(self, method: str, path: str, file: str, condition: Condition) -> None:
        """Add a route to the application itself."""
        self.application.routes.append(Registration(method, path, condition, file))

    def _text(self, node: ast.expr, frame: Frame) -> str | None:
        if isinstance(node, ast.Attribute) and node.attr == "swagger_ui_oauth2_redirect_url":
            return "/docs/oauth2-redirect"
        try:
            found = self.library.constant(frame.module, node)
        except ValueError:
            return None
        return found if isinstance(found, str) else None


def _registers(node: ast.FunctionDef) -> bool:
    calls = (
        call.func for call in ast.walk(node) if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)
    )
    return any(call.attr in METHODS and ast.unparse(call.value).endswith("router") for call in calls)


def _well_known(parameter: str, application: Router) -> Value | None:
    known: dict[str, Value] = {"args": Arguments(), "supported_tasks": Tasks(), "app": application}
    return known.get(parameter)
