# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules of a release as syntax trees, and what a name in one of them means. Nothing is ever imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.expr


@dataclass(frozen=True)
class Imported:
    """A name another module gives: ``attribute`` of ``module``, or the module itself when it is None."""

    module: str
    attribute: str | None


@dataclass
class Module:
    """One module: ``names`` maps what is defined at its top level, also under ``if`` and ``try``, to definitions.

    A name bound more than once maps to the list of its definitions in order.
    """

    name: str
    path: str
    tree: ast.Module
    names: dict[str, list[Definition | Imported]] = field(default_factory=dict)

    @property
    def package(self) -> str:
        """Return the package relative imports start from."""
        return self.name if self.path.endswith("/__init__.py") else self.name.rpartition(".")[0]


def imported_names(statement: ast.Import | ast.ImportFrom, package: str) -> Iterator[tuple[str, Imported]]:
    """Yield the names an import binds."""
    if isinstance(statement, ast.Import):
        for alias in statement.names:
            if alias.asname:
                yield alias.asname, Imported(alias.name, None)
            else:
                first = alias.name.split(".")[0]
                yield first, Imported(first, None)
        return
    base = statement.module or ""
    if statement.level:
        parts = package.split(".")
        parent = parts[: len(parts) - statement.level + 1]
        base = ".".join([*parent, *([statement.module] if statement.module else [])])
    for alias in statement.names:
        yield alias.asname or alias.name, Imported(base, alias.name)


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements of ``body`` and those under its ``if``, ``try`` and ``with``, but not inside functions."""
    for statement in body:
        yield statement
        for name in ("body", "orelse", "finalbody"):
            if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield from statements(getattr(statement, name, []))
        for handler in getattr(statement, "handlers", []):
            yield from statements(handler.body)


class Library:
    """The modules of one release, parsed when first asked for."""

    def __init__(self, files: dict[str, str]) -> None:
        self.files = files
        self.unreadable: dict[str, str] = {}
        self._parsed: dict[str, Module | None] = {}

    def module(self, name: str) -> Module | None:
        """Return module ``name``, None when the wheel has none or its syntax cannot be read."""
        base = name.replace(".", "/")
        for path in (f"{base}.py", f"{base}/__init__.py"):
            if path in self.files:
                return self.at(path)
        return None

    def at(self, path: str) -> Module | None:
        """Return the module in file ``path``; a syntax error is kept in ``unreadable``."""
        if path not in self._parsed:
            self._parsed[path] = self._parse(path)
        return self._parsed[path]

    def _parse(self, path: str) -> Module | None:
        try:
            tree = ast.parse(self.files[path])
        except SyntaxError as error:
            self.unreadable[path] = f"line {error.lineno}: {error.msg}"
            return None
        name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        module = Module(name, path, tree)
        for statement in statements(tree.body):
            for bound, definition in _bound(statement, module.package):
                module.names.setdefault(bound, []).append(definition)
        return module

    def resolve(self, module: Module, name: str, depth: int = 0) -> tuple[Module, Definition] | Module | None:
        """Return what ``name`` in ``module`` means: its definition and where it stands, a module, or None."""
        found = module.names.get(name)
        if found is None or depth > 12:
            return None
        definition = found[-1]
        if isinstance(definition, Imported):
            return self.imported(definition, depth + 1)
        return module, definition

    def imported(self, name: Imported, depth: int = 0) -> tuple[Module, Definition] | Module | None:
        """Return what an import brings in."""
        if name.attribute is None:
            return self.module(name.module)
        source = self.module(name.module)
        if source is not None:
            found = self.resolve(source, name.attribute, depth)
            if found is not None:
                return found
        return self.module(f"{name.module}.{name.attribute}")

    def constant(self, module: Module, node: ast.expr, depth: int = 0) -> object:
        """Return the value of a constant expression; raise ValueError for anything that would need running."""
        try:
            return ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError):
            pass
        if depth > 8:
            raise ValueError(ast.unparse(node))
        if isinstance(node, ast.Name):
            found = self.resolve(module, node.id)
            if isinstance(found, tuple) and isinstance(found[1], ast.expr):
                return self.constant(found[0], found[1], depth + 1)
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "str"
            and len(node.args) == 1
        ):
            return str(self.constant(module, node.args[0], depth + 1))
        if isinstance(node, ast.BinOp):
            return _arithmetic(node, *(self.constant(module, side, depth + 1) for side in (node.left, node.right)))
        raise ValueError(ast.unparse(node))


def _arithmetic(node: ast.BinOp, left: object, right: object) -> object:
    if isinstance(left, str) and isinstance(right, str) and isinstance(node.op, ast.Add):
        return left + right
    if isinstance(left, int | float) and isinstance(right, int | float):
        if isinstance(node.op, ast.Mult):
            return left * right
        if isinstance(node.op, ast.Add):
            return left + right
        if isinstance(node.op, ast.Pow) and 0 <= right <= 64:
            return left**right
        if isinstance(node.op, ast.LShift) and isinstance(left, int) and isinstance(right, int) and 0 <= right <= 64:
            return left << right
    raise ValueError(ast.unparse(node))


def _bound(statement: ast.stmt, package: str) -> Iterator[tuple[str, Definition | Imported]]:
    if isinstance(statement, ast.Import | ast.ImportFrom):
        yield from imported_names(statement, package)
    elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name, statement
    elif isinstance(statement, ast.Assign):
        for target in statement.targets:
            if isinstance(target, ast.Name):
                yield target.id, statement.value
    elif (
        isinstance(statement, ast.AnnAssign) and statement.value is not None and isinstance(statement.target, ast.Name)
    ):
        yield statement.target.id, statement.value
