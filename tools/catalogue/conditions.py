# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tests of the server's set-up code ask: options, variables, tasks. What is none of them stays as its text."""

from __future__ import annotations

import ast
from typing import Protocol

from . import booleans
from .booleans import Condition
from .library import Imported
from .values import Arguments, Expression, External, Frame, State, Tasks, Value


class Evaluator(Protocol):
    """What can tell the meaning of an expression."""

    def value(self, node: ast.expr, frame: Frame) -> Value:
        """Return what ``node`` stands for."""
        ...


class Conditions:
    """Reads tests; ``unexplained`` collects those that ``meanings`` (text of a test to condition) does not explain."""

    def __init__(self, evaluator: Evaluator, meanings: dict[str, str]) -> None:
        self.evaluator = evaluator
        self.meanings = meanings
        self.unexplained: dict[str, str] = {}

    def read(self, node: ast.expr, frame: Frame, depth: int = 0) -> Condition:
        """Return the condition under which ``node`` is true."""
        written = ast.unparse(node)
        if written in self.meanings:
            return booleans.parse(self.meanings[written])
        match node:
            case ast.Constant():
                return booleans.TRUE if node.value else booleans.FALSE
            case ast.BoolOp():
                parts = [self.read(value, frame, depth) for value in node.values]
                result = parts[0]
                for part in parts[1:]:
                    join = booleans.both if isinstance(node.op, ast.And) else booleans.either
                    result = join(result, part)
                return result
            case ast.UnaryOp(op=ast.Not()):
                return booleans.negate(self.read(node.operand, frame, depth))
            case ast.Compare():
                return self._comparison(node, frame)
        return self._value(node, frame, depth)

    def _comparison(self, node: ast.Compare, frame: Frame) -> Condition:
        left, operator, right = node.left, node.ops[0], node.comparators[0]
        if (
            isinstance(operator, ast.In)
            and isinstance(left, ast.Constant)
            and isinstance(self.evaluator.value(right, frame), Tasks)
        ):
            return booleans.atom(str(left.value))
        if isinstance(right, ast.Constant) and right.value is None and isinstance(operator, ast.Is | ast.IsNot):
            found = self.evaluator.value(left, frame)
            if isinstance(found, Arguments | Tasks | State):
                present = booleans.TRUE
            else:
                present = self.read(left, frame)
            return present if isinstance(operator, ast.IsNot) else booleans.negate(present)
        return self._unknown(node, frame)

    def _value(self, node: ast.expr, frame: Frame, depth: int) -> Condition:
        if _is_getattr(node) and isinstance(node, ast.Call) and isinstance(node.args[1], ast.Constant):
            node = ast.Attribute(node.args[0], str(node.args[1].value), ast.Load())
        if isinstance(node, ast.Attribute):
            owner = self.evaluator.value(node.value, frame)
            if isinstance(owner, Arguments):
                return booleans.atom(f"--{node.attr.replace('_', '-')}")
            if isinstance(owner, External) and _is_environment(owner.name):
                return booleans.atom(node.attr)
            if ast.unparse(node.value) in ("envs", "vllm.envs"):
                return booleans.atom(node.attr)
        if isinstance(node, ast.Name):
            found = self.evaluator.value(node, frame)
            if isinstance(found, Expression) and found.node is not node and depth < 8:
                bindings = found.frame.module.names.get(node.id, [])
                if len(bindings) <= 1:
                    return self.read(found.node, found.frame, depth + 1)
        return self._unknown(node, frame)

    def _unknown(self, node: ast.expr, frame: Frame) -> Condition:
        written = ast.unparse(node)
        if written in self.meanings:
            return booleans.parse(self.meanings[written])
        self.unexplained[written] = frame.module.path
        # The separators of the stored form must not occur in a name.
        return booleans.atom(written.replace(" or ", " | ").replace(" and ", " & ").replace("not ", "! "))


def _is_environment(name: Imported) -> bool:
    return (name.module, name.attribute) in (("vllm.envs", None), ("vllm", "envs"))


def _is_getattr(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr" and len(node.args) >= 2
