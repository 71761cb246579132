# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The routes that the SageMaker package adds for the handlers vLLM registers with it, read from its source."""

from __future__ import annotations

import ast
import re
from typing import Protocol

from .booleans import Condition
from .values import External, Frame, Value

PACKAGE = "model_hosting_container_standards"
INIT = f"{PACKAGE}/sagemaker/__init__.py"
ROUTES = (f"{PACKAGE}/sagemaker/sagemaker_router.py", f"{PACKAGE}/sagemaker/lora/routes.py")


class Adder(Protocol):
    """Where found routes go."""

    def add(self, method: str, path: str, file: str, condition: Condition) -> None:
        """Take a route."""
        ...


class Standards:
    """Which decorator of the package brings which route; without sources (old releases) there are none."""

    def __init__(self, files: dict[str, str]) -> None:
        self.routes: dict[str, tuple[str, str, str]] = {}
        missing = [path for path in (INIT, *ROUTES) if path not in files]
        if files and missing:
            raise ValueError(f"{PACKAGE} is laid out anew: {', '.join(missing)} is missing")
        if files:
            configured = {kind: route for path in ROUTES for kind, route in _configured(files, path).items()}
            for decorator, kind in _decorators(files[INIT]).items():
                if kind in configured:
                    self.routes[decorator] = configured[kind]

    def decorated(self, adder: Adder, node: ast.expr, _frame: Frame, condition: Condition) -> None:
        """Add the route of a decorator of the package, if ``node`` is one that has a route."""
        name = ast.unparse(node.func if isinstance(node, ast.Call) else node).rpartition(".")[2]
        if name in self.routes:
            method, path, file = self.routes[name]
            adder.add(method, path, file, condition)

    def called(self, function: Value) -> bool:
        """Tell whether a function given the application is the package's own, whose routes are known here."""
        return isinstance(function, External) and function.name.module.startswith(PACKAGE)


def _configured(files: dict[str, str], path: str) -> dict[str, tuple[str, str, str]]:
    """Return kind of handler to (method, path, file): from ``if handler_type == KIND`` and from a registry's keys."""
    tree = ast.parse(files[path])
    found: dict[str, tuple[str, str, str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Compare):
            kind = node.test.comparators[0]
            for inner in node.body:
                if isinstance(kind, ast.Constant) and isinstance(inner, ast.Return) and inner.value is not None:
                    found |= _route(str(kind.value), inner.value, path)
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Attribute):
                    found |= _route(key.attr.lower(), value, path)
    return found


def _route(kind: str, node: ast.expr, file: str) -> dict[str, tuple[str, str, str]]:
    if not isinstance(node, ast.Call):
        return {}
    given = {item.arg: item.value.value for item in node.keywords if isinstance(item.value, ast.Constant)}
    return {kind: (str(given["method"]), str(given["path"]), file)} if {"method", "path"} <= given.keys() else {}


def _decorators(source: str) -> dict[str, str]:
    """Return decorator to kind of handler: functions that name ``LoRAHandlerType.KIND`` and ``register_handler("kind")``."""
    found = dict(re.findall(r"^(\w+) = register_handler\(\"(\w+)\"\)", source, re.MULTILINE))
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            kinds = re.findall(r"LoRAHandlerType\.(\w+)", ast.unparse(node))
            if kinds:
                found[node.name] = kinds[0].lower()
    return found
