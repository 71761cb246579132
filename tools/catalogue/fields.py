# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fields of configuration dataclasses: names, kinds of values, defaults."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Any

from .library import Library, Module

BUILTINS = frozenset({"bool", "int", "float", "str", "list", "tuple", "set", "dict", "bytes"})
GENERIC = {"List": "list", "Tuple": "tuple", "Set": "set", "Dict": "dict", "Sequence": "list", "Mapping": "dict"}
WRAPPERS = frozenset({"Annotated", "SkipValidation", "Final", "Required", "NotRequired"})


@dataclass(frozen=True)
class Code:
    """A value only running the code would tell; ``text`` is the expression."""

    text: str


@dataclass(frozen=True)
class Kinds:
    """What values an annotation allows.

    ``names`` are builtins, ``None``, ``dataclass``, ``Literal`` and ``other``; ``choices`` the literals, None where
    they cannot be told; ``variadic`` tells a tuple of any length, ``elements`` the kinds of a collection's elements.
    """

    names: frozenset[str]
    choices: tuple[Any, ...] = ()
    length: int | None = None
    elements: frozenset[str] = frozenset()
    element_choices: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Field:
    """One field of a configuration class; ``default`` is JSON or Code."""

    name: str
    annotation: str
    kinds: Kinds
    default: Any


class FieldReader:
    """Reads classes of one release."""

    def __init__(self, library: Library) -> None:
        self.library = library

    def find(self, name: str, modules: tuple[str, ...]) -> tuple[Module, ast.ClassDef] | None:
        """Return class ``name`` where the first of ``modules`` that has it defines or imports it from."""
        for path in modules:
            module = self.library.module(path)
            found = self.library.resolve(module, name) if module else None
            if isinstance(found, tuple) and isinstance(found[1], ast.ClassDef):
                return found[0], found[1]
        return None

    def fields(self, module: Module, node: ast.ClassDef) -> dict[str, Field]:
        """Return the fields of a dataclass by name, those of its bases first."""
        result: dict[str, Field] = {}
        for base in node.bases:
            found = self.library.resolve(module, base.id) if isinstance(base, ast.Name) else None
            if isinstance(found, tuple) and isinstance(found[1], ast.ClassDef):
                result |= self.fields(found[0], found[1])
        for statement in node.body:
            if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
                continue
            written = ast.unparse(statement.annotation)
            if written.startswith(("ClassVar", "InitVar", "typing.ClassVar")):
                continue
            name = statement.target.id
            default = self.default(module, statement.value) if statement.value is not None else None
            result[name] = Field(name, written, self.kinds(module, statement.annotation), default)
        return result

    def default(self, module: Module, node: ast.expr) -> Any:
        """Return the default a field's right side means: JSON, or Code."""
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in ("field", "Field"):
            given = {item.arg: item.value for item in node.keywords}
            if "default" in given:
                return self.default(module, given["default"])
            if node.args:
                return self.default(module, node.args[0])
            if "default_factory" in given:
                return self._made(module, given["default_factory"])
            return None
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "cast":
            return self.default(module, node.args[1])
        if (
            isinstance(node, ast.Call)
            and ast.unparse(node.func) == "get_field"
            and isinstance(node.args[1], ast.Constant)
        ):
            node = ast.Attribute(node.args[0], str(node.args[1].value), ast.Load())
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found = self.library.resolve(module, node.value.id)
            if isinstance(found, tuple) and isinstance(found[1], ast.ClassDef):
                field = self.fields(found[0], found[1]).get(node.attr)
                return Code(ast.unparse(node)) if field is None else field.default
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            inner = self.default(module, node.operand)
            return Code(ast.unparse(node)) if isinstance(inner, Code) else not inner
        if ast.unparse(node) == "int(ssl.CERT_NONE)":
            return 0
        try:
            return plain(self.library.constant(module, node))
        except ValueError:
            return Code(ast.unparse(node))

    def _made(self, module: Module, factory: ast.expr) -> Any:
        if isinstance(factory, ast.Lambda):
            return self.default(module, factory.body)
        written = ast.unparse(factory)
        return {"list": [], "dict": {}, "set": [], "tuple": []}.get(written, Code(f"{written}()"))

    def kinds(self, module: Module, node: ast.expr, depth: int = 0) -> Kinds:
        """Return what values annotation ``node`` allows."""
        if isinstance(node, ast.Constant):
            if node.value is None:
                return Kinds(frozenset({"None"}))
            if isinstance(node.value, str):
                return self.kinds(module, ast.parse(node.value, mode="eval").body, depth + 1)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            return _union([self.kinds(module, node.left, depth), self.kinds(module, node.right, depth)])
        if isinstance(node, ast.Subscript):
            return self._subscript(module, node, depth)
        name = ast.unparse(node).rpartition(".")[2]
        if name in BUILTINS:
            return Kinds(frozenset({name}))
        if name in GENERIC:
            return Kinds(frozenset({GENERIC[name]}))
        return self._named(module, node, depth)

    def _named(self, module: Module, node: ast.expr, depth: int) -> Kinds:
        found = self.library.resolve(module, node.id) if isinstance(node, ast.Name) else None
        if isinstance(found, tuple) and depth < 12:
            owner, definition = found
            if isinstance(definition, ast.ClassDef):
                return Kinds(frozenset({self._class(owner, definition)}))
            if isinstance(definition, ast.expr):
                return self.kinds(owner, definition, depth + 1)
        return Kinds(frozenset({"other"}))

    def _class(self, module: Module, node: ast.ClassDef) -> str:
        decorators = {ast.unparse(item).split("(")[0].rpartition(".")[2] for item in node.decorator_list}
        if decorators & {"config", "dataclass"}:
            return "dataclass"
        bases = {ast.unparse(base).split("[")[0].rpartition(".")[2] for base in node.bases}
        if bases & {"dict", "TypedDict"}:
            return "dict"
        for base in node.bases:
            found = self.library.resolve(module, base.id) if isinstance(base, ast.Name) else None
            if isinstance(found, tuple) and isinstance(found[1], ast.ClassDef):
                kind = self._class(found[0], found[1])
                if kind == "dict":
                    return kind
        return "other"

    def _subscript(self, module: Module, node: ast.Subscript, depth: int) -> Kinds:
        name = ast.unparse(node.value).rpartition(".")[2]
        parts = list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]
        if name == "Literal":
            return Kinds(frozenset({"Literal"}), self._literals(module, parts))
        if name == "Optional":
            return _union([self.kinds(module, parts[0], depth), Kinds(frozenset({"None"}))])
        if name == "Union":
            return _union([self.kinds(module, part, depth) for part in parts])
        if name in WRAPPERS:
            return self.kinds(module, parts[0], depth)
        collection = GENERIC.get(name, name)
        if collection in ("list", "tuple", "set", "frozenset"):
            element = self.kinds(module, parts[0], depth)
            fixed = collection == "tuple" and not any(
                isinstance(part, ast.Constant) and part.value is Ellipsis for part in parts
            )
            length = len(parts) if fixed else None
            return Kinds(frozenset({collection}), (), length, element.names, element.choices)
        return Kinds(frozenset({collection if collection in BUILTINS else "other"}))

    def _literals(self, module: Module, parts: list[ast.expr]) -> tuple[Any, ...]:
        found: list[Any] = []
        for part in parts:
            try:
                found.append(self.library.constant(module, part))
            except ValueError:
                inner = self.kinds(module, part)
                found.extend(inner.choices or [Code(ast.unparse(part))])
        return tuple(found)


def plain(value: object) -> Any:
    """Return ``value`` as JSON has it: sets and tuples as lists, numbers JSON has no word for as Code."""
    if isinstance(value, set | frozenset):
        return sorted((plain(item) for item in value), key=str)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return value if value is None or isinstance(value, bool | int | float | str) else Code(repr(value))


def _union(parts: list[Kinds]) -> Kinds:
    names = frozenset(name for part in parts for name in part.names)
    choices = tuple(choice for part in parts for choice in part.choices)
    collection = next((part for part in parts if part.elements), None)
    if collection is None:
        return Kinds(names, choices)
    return Kinds(names, choices, collection.length, collection.elements, collection.element_choices)
