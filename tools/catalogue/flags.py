# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of ``vllm serve``: the code that fills its parser is followed, with argparse's keywords as data."""

from __future__ import annotations

import ast
import copy
from dataclasses import dataclass, field
from typing import Any

from .fields import Code, FieldReader
from .keywords import SWITCH, keywords
from .library import Library, Module

PARSER_MODULES = ("vllm.entrypoints.launchers.cli_args", "vllm.entrypoints.openai.cli_args")
SERVE = "vllm.entrypoints.cli.serve"
NO_VALUE = ("store_true", "store_false", "store_const", "count", "help", SWITCH)
Class = tuple[Module, ast.ClassDef]


@dataclass
class Context:
    """Where a statement runs: its names, its module, the class that defines its method and the one it was called on."""

    module: Module
    names: dict[str, Any] = field(default_factory=dict)
    owner: Class | None = None
    asked: Class | None = None


class FlagReader:
    """Follows the set-up of the parser of one release; ``undecided`` says what it could not follow."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.reader = FieldReader(library)
        self.undecided: set[str] = set()
        self.flags: dict[str, dict[str, Any]] = {}
        self.optional_values = '["const"] = True' in library.files.get("vllm/engine/arg_utils.py", "")

    def read(self) -> dict[str, dict[str, Any]]:
        """Return the options by name without dashes: switch, several, aliases, default, choices, json, deprecated."""
        self._register(["-h", "--help"], {"action": "help", "default": None})
        for name in PARSER_MODULES:
            module = self.library.module(name)
            found = self.library.resolve(module, "make_arg_parser") if module else None
            if isinstance(found, tuple) and isinstance(found[1], ast.FunctionDef):
                self._run(found[1].body, Context(found[0]))
                break
        else:
            self.undecided.add("no make_arg_parser was found")
        serve = self.library.module(SERVE)
        for node in ast.walk(serve.tree) if serve else ():
            if isinstance(node, ast.FunctionDef) and node.name == "subparser_init" and serve:
                self._run(node.body, Context(serve))
        return dict(sorted(self.flags.items()))

    def _run(self, body: list[ast.stmt], context: Context) -> Any:
        for statement in body:
            match statement:
                case ast.Assign(targets=[ast.Name(id=target)]):
                    context.names[target] = self._value(statement.value, context)
                case ast.Assign(targets=[ast.Subscript(slice=ast.Constant(value=key)) as target]):
                    holder = self._value(target.value, context)
                    if isinstance(holder, dict):
                        holder[key] = self._value(statement.value, context)
                case ast.Delete(targets=[ast.Subscript(slice=ast.Constant(value=key)) as target]):
                    holder = self._value(target.value, context)
                    if isinstance(holder, dict):
                        holder.pop(key, None)
                case ast.If():
                    self._run([*statement.body, *statement.orelse], context)
                case ast.For(target=ast.Tuple(elts=targets)):
                    items = self._value(statement.iter, context)
                    for item in items if isinstance(items, list) else []:
                        bound = [target.id for target in targets if isinstance(target, ast.Name)]
                        context.names |= dict(zip(bound, item, strict=True))
                        self._run(statement.body, context)
                case ast.Expr():
                    self._value(statement.value, context)
                case ast.Return(value=ast.expr() as value):
                    return self._value(value, context)
        return None

    def _value(self, node: ast.expr, context: Context) -> Any:
        match node:
            case ast.Name() if node.id in context.names:
                return context.names[node.id]
            case ast.Subscript():
                holder, key = self._value(node.value, context), self._value(node.slice, context)
                if isinstance(holder, dict):
                    return holder.get(key, Code(ast.unparse(node)))
            case ast.Dict():
                return self._dictionary(node, context)
            case ast.JoinedStr():
                parts = [self._value(_inner(part), context) for part in node.values]
                if all(isinstance(part, str) for part in parts):
                    return "".join(parts)
            case ast.Call():
                return self._call(node, context)
            case _:
                return self.reader.default(context.module, node)
        return Code(ast.unparse(node))

    def _dictionary(self, node: ast.Dict, context: Context) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            found = self._value(value, context)
            if isinstance(key, ast.Constant):
                result[str(key.value)] = found
            elif isinstance(found, dict):
                result |= found
        return result

    def _call(self, node: ast.Call, context: Context) -> Any:
        written = ast.unparse(node.func)
        if written == "get_kwargs":
            return self._get_kwargs(node.args[0], context)
        if not isinstance(node.func, ast.Attribute):
            return Code(ast.unparse(node))
        method = node.func.attr
        if method == "add_argument":
            self._add_argument(node, context)
            return None
        if method in ("add_cli_args", "_customize_cli_kwargs"):
            return self._method(node, method, context)
        holder = self._value(node.func.value, context)
        arguments = [self._value(argument, context) for argument in node.args]
        match holder, method:
            case dict(), "items":
                return [(key, value) for key, value in holder.items()]
            case dict(), "pop":
                return holder.pop(*arguments)
            case dict(), "update":
                for argument in arguments:
                    holder.update(argument if isinstance(argument, dict) else {})
                return None
            case str(), "replace":
                return holder.replace(*arguments)
            case list(), "remove":
                if arguments[0] in holder:
                    holder.remove(arguments[0])
                return None
        return Code(ast.unparse(node))

    def _method(self, node: ast.Call, name: str, context: Context) -> Any:
        target = ast.unparse(node.func).removesuffix(f".{name}")
        start = asked = context.asked
        if target == "super()":
            start = self._base(context.owner)
        elif target != "cls":
            found = self.library.resolve(context.module, target)
            if isinstance(found, tuple) and isinstance(found[1], ast.ClassDef):
                start = asked = (found[0], found[1])
        while start is not None:
            for item in start[1].body:
                if isinstance(item, ast.FunctionDef) and item.name == name:
                    given = [self._value(argument, context) for argument in node.args]
                    parameters = [argument.arg for argument in item.args.args if argument.arg not in ("cls", "self")]
                    names = dict(zip(parameters, given, strict=False))
                    return self._run(item.body, Context(start[0], names, start, asked))
            start = self._base(start)
        self.undecided.add(f"{context.module.path}: {ast.unparse(node)}")
        return None

    def _base(self, child: Class | None) -> Class | None:
        for base in child[1].bases if child else ():
            found = self.library.resolve(child[0], base.id) if isinstance(base, ast.Name) and child else None
            if isinstance(found, tuple) and isinstance(found[1], ast.ClassDef):
                return found[0], found[1]
        return None

    def _get_kwargs(self, node: ast.expr, context: Context) -> dict[str, dict[str, Any]]:
        written = ast.unparse(node)
        found: Any = context.asked if written == "cls" else self.library.resolve(context.module, written)
        if not (isinstance(found, tuple) and isinstance(found[1], ast.ClassDef)):
            self.undecided.add(f"{context.module.path}: class {written} of get_kwargs")
            return {}
        known = self.reader.fields(*found)
        return {name: copy.deepcopy(keywords(item, self.optional_values)) for name, item in known.items()}

    def _add_argument(self, node: ast.Call, context: Context) -> None:
        names: list[Any] = []
        for argument in node.args:
            if isinstance(argument, ast.Starred):
                more = self._value(argument.value, context)
                names.extend(more if isinstance(more, list) else [])
            else:
                names.append(self._value(argument, context))
        given: dict[str, Any] = {}
        for item in node.keywords:
            value = self._value(item.value, context)
            if item.arg is not None:
                given[item.arg] = (
                    value if item.arg != "action" else ast.unparse(item.value).strip("'\"").rpartition(".")[2]
                )
            elif isinstance(value, dict):
                given |= value
            else:
                self.undecided.add(f"{context.module.path}: {ast.unparse(node)[:100]}")
        if not all(isinstance(name, str) for name in names):
            self.undecided.add(f"{context.module.path}: names of {ast.unparse(node)[:100]}")
            return
        if names[0].startswith("-"):
            self._register(names, given)

    def _register(self, names: list[str], given: dict[str, Any]) -> None:
        long = [name for name in names if name.startswith("--")]
        if not long:
            return
        spelled = [name.lstrip("-").replace("_", "-") for name in names]
        main = long[0].lstrip("-").replace("_", "-")
        entry: dict[str, Any] = {
            "switch": given.get("action") in NO_VALUE or given.get("nargs") == 0,
            "several": given.get("nargs") in ("+", "*"),
            "aliases": sorted({name for name in spelled if name != main}),
        }
        default = given.get("default", False if given.get("action") == "store_true" else None)
        entry |= {"default_code": default.text} if isinstance(default, Code) else {"default": plain_default(default)}
        choices = given.get("choices")
        if isinstance(choices, list) and not any(isinstance(choice, Code) for choice in choices):
            entry["choices"] = choices
        for name in ("json", "deprecated"):
            if given.get(name) is True:
                entry[name] = True
        self.flags[main] = entry


def plain_default(value: Any) -> Any:
    """Return a default as JSON; what is inside a list or mapping and would need running stays as its text."""
    if isinstance(value, list):
        return [plain_default(item) for item in value]
    if isinstance(value, dict):
        return {key: plain_default(item) for key, item in value.items()}
    return value.text if isinstance(value, Code) else value


def _inner(part: ast.expr) -> ast.expr:
    return part.value if isinstance(part, ast.FormattedValue) else part
