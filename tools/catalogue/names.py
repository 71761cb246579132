# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the names of the server's set-up code stand for, across modules and calls."""

from __future__ import annotations

import abc
import ast

from . import booleans
from .booleans import Condition
from .library import Imported, Library, Module
from .values import Arguments, Expression, External, Frame, Function, Router, State, Value


class Names(abc.ABC):
    """Looks names up; a module whose router is asked for is walked first, as importing it would."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.application = Router(application=True)
        self.frames: dict[str, Frame] = {}
        self._routers: dict[tuple[str, str], Router] = {}

    @abc.abstractmethod
    def run(self, body: list[ast.stmt], frame: Frame, condition: Condition) -> Condition:
        """Walk statements that run under ``condition``; return the condition under which their end is reached."""

    def imported(self, name: Imported) -> Value:
        """Return what an import brings in."""
        found = self.library.imported(name)
        if isinstance(found, tuple):
            return self._definition(*found, name.attribute or "")
        return External(name)

    def _definition(self, module: Module, node: ast.AST, name: str) -> Value:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            return Function(module, node)
        if is_call_of(node, "APIRouter"):
            owner = next((bound for bound, found in module.names.items() if node in found), name)
            return self._router(module, owner)
        return Expression(node, Frame(module)) if isinstance(node, ast.expr) else External(Imported(module.name, name))

    def _router(self, module: Module, name: str) -> Router:
        router = self._routers.setdefault((module.name, name), Router())
        self.load(module)
        return router

    def load(self, module: Module) -> Frame:
        """Walk a module's top level once, as importing it would."""
        if module.name not in self.frames:
            frame = self.frames[module.name] = Frame(module)
            for name, found in module.names.items():
                if is_call_of(found[-1], "APIRouter"):
                    frame.names[name] = self._routers.setdefault((module.name, name), Router())
            self.run(module.tree.body, frame, booleans.TRUE)
        return self.frames[module.name]

    def value(self, node: ast.expr, frame: Frame) -> Value:
        """Return what ``node`` stands for in ``frame``."""
        if isinstance(node, ast.Name):
            if node.id in frame.names:
                return frame.names[node.id]
            found = self.library.resolve(frame.module, node.id)
            if isinstance(found, tuple):
                return self._definition(*found, node.id)
            imported = frame.module.names.get(node.id)
            if imported and isinstance(imported[-1], Imported):
                return External(imported[-1])
        if isinstance(node, ast.Attribute):
            return self._attribute(node, frame)
        if isinstance(node, ast.Call):
            return self._result(node, frame)
        return Expression(node, frame)

    def _attribute(self, node: ast.Attribute, frame: Frame) -> Value:
        owner = self.value(node.value, frame)
        if isinstance(owner, Router) and node.attr == "state":
            return State()
        if isinstance(owner, State) and node.attr == "args":
            return Arguments()
        if isinstance(owner, External) and owner.name.attribute is None and owner.name.module != "vllm.envs":
            return self.imported(Imported(owner.name.module, node.attr))
        return Expression(node, frame)

    def _result(self, node: ast.Call, frame: Frame) -> Value:
        if is_call_of(node, "FastAPI"):
            return self.application
        if is_call_of(node, "APIRouter"):
            return Router()
        if is_call_of(node, "getattr") and len(node.args) >= 2 and isinstance(node.args[1], ast.Constant):
            return self._attribute(ast.Attribute(node.args[0], str(node.args[1].value), ast.Load()), frame)
        if any(self.value(argument, frame) is self.application for argument in node.args):
            return self.application
        return Expression(node, frame)


def is_call_of(node: object, name: str) -> bool:
    """Tell whether ``node`` is a call of something whose last name is ``name``."""
    return isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == name
