# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The environment variables a release reads: those ``envs.py`` declares and those other files read themselves."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

from .library import Library, Module

ENVS = "vllm/envs.py"
SKIPPED = ("vllm/benchmarks/", "vllm/collect_env.py", "vllm/third_party/")
MENTIONS = re.compile(r"\benviron\b|\bgetenv\b")
CHOICES = ("env_with_choices", "env_list_with_choices", "env_set_with_choices", "get_env_or_set_default")
UNSET = object()


class VariableReader:
    """Reads the variables of one release; ``undecided`` says which reads have no constant name."""

    def __init__(self, library: Library, standards: dict[str, str]) -> None:
        self.library = library
        self.standards = standards
        self.undecided: set[str] = set()
        self.found: dict[str, dict[str, Any]] = {}
        self._bound: dict[str, tuple[dict[str, set[str]], dict[str, set[str]]]] = {}

    def read(self) -> dict[str, dict[str, Any]]:
        """Return variables by name: declared (by envs.py), default (text of the variable, None when unset), file."""
        envs = self.library.at(ENVS) if ENVS in self.library.files else None
        if envs is not None:
            self._declared(envs)
        else:
            self.undecided.add(f"{ENVS} is not there or cannot be read")
        for path in sorted(self.library.files):
            if path == ENVS or not path.startswith("vllm/") or path.startswith(SKIPPED):
                continue
            if MENTIONS.search(self.library.files[path]):
                module = self.library.at(path)
                for name, default in self._reads(module) if module else ():
                    self._add(name, default, path, declared=False)
        self._of_standards()
        return dict(sorted(self.found.items()))

    def _add(self, name: str, default: Any, file: str, declared: bool) -> None:
        if name in self.found:
            return
        entry: dict[str, Any] = {"declared": declared, "file": file}
        if isinstance(default, ast.expr):
            entry["default_code"] = ast.unparse(default)
        else:
            entry["default"] = None if default is UNSET else default
        self.found[name] = entry

    def _declared(self, envs: Module) -> None:
        table = envs.names.get("environment_variables", [None])[-1]
        if not isinstance(table, ast.Dict):
            self.undecided.add(f"{ENVS}: environment_variables is no literal mapping")
            return
        for key, value in zip(table.keys, table.values, strict=True):
            if not (isinstance(key, ast.Constant) and isinstance(key.value, str)):
                self.undecided.add(f"{ENVS}: key {ast.unparse(key) if key else '**'} of environment_variables")
                continue
            reads = dict(self._accesses(envs, value))
            if isinstance(value, ast.Name):
                function = envs.names.get(value.id, [None])[-1]
                reads = dict(self._accesses(envs, function)) if isinstance(function, ast.FunctionDef) else {}
            self._add(key.value, reads.pop(key.value, UNSET), ENVS, declared=True)
            for name, default in reads.items():
                self._add(name, default, ENVS, declared=False)

    def _reads(self, module: Module) -> Iterator[tuple[str, Any]]:
        yield from self._accesses(module, module.tree)

    def _accesses(self, module: Module, tree: ast.AST) -> Iterator[tuple[str, Any]]:
        """Yield the variables read below ``tree`` with their defaults, later reads of a name after earlier ones."""
        found: dict[str, Any] = {}
        for node in ast.walk(tree):
            access = _access(node)
            if access is None:
                continue
            key, default = access
            names = self._names(module, key, isinstance(node, ast.Compare))
            value: Any = UNSET
            if default is not None:
                try:
                    constant = self.library.constant(module, default)
                    value = constant if constant is None or isinstance(constant, str) else str(constant)
                except ValueError:
                    value = default
            for name in names:
                if name not in found or found[name] is UNSET:
                    found[name] = value
        yield from found.items()

    def _names(self, module: Module, key: ast.expr, tested: bool) -> list[str]:
        """Return the variables ``key`` can stand for: a constant, or what its name is bound to in the module.

        A loop that only tests whether variables are set, to say that they have no effect, reads none (``tested``).
        """
        try:
            name = self.library.constant(module, key)
            return [name] if isinstance(name, str) else []
        except ValueError:
            pass
        if isinstance(key, ast.Name):
            assigned, looped = self._bindings(module)
            names = sorted(assigned.get(key.id, set()) | (set() if tested else looped.get(key.id, set())))
            if names or looped.get(key.id):
                return names
        self.undecided.add(f"{module.path}: the name {ast.unparse(key)}")
        return []

    def _bindings(self, module: Module) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
        """Return the names of variables that Python names are assigned anywhere in ``module``, and that loops give them."""
        if module.path not in self._bound:
            assigned: dict[str, set[str]] = {}
            looped: dict[str, set[str]] = {}
            for node in ast.walk(module.tree):
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                    words = _variables(node.value)
                    assigned.setdefault(node.targets[0].id, set()).update(words if len(words) == 1 else ())
                elif isinstance(node, ast.For | ast.comprehension):
                    target = node.target.elts[0] if isinstance(node.target, ast.Tuple) else node.target
                    if isinstance(target, ast.Name):
                        looped.setdefault(target.id, set()).update(self._iterated(module, node.iter))
            self._bound[module.path] = (assigned, looped)
        return self._bound[module.path]

    def _iterated(self, module: Module, node: ast.expr) -> set[str]:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "items":
            node = node.func.value
        bound = module.names.get(node.id, [None])[-1] if isinstance(node, ast.Name) else node
        if isinstance(node, ast.Name) and bound is None:
            # A literal of the same function.
            literals = [
                item.value
                for item in ast.walk(module.tree)
                if isinstance(item, ast.Assign) and ast.unparse(item.targets[0]) == node.id
            ]
            bound = literals[0] if len(literals) == 1 else None
        if isinstance(bound, ast.Dict):
            return {word for key in bound.keys if key is not None for word in _variables(key)}
        if isinstance(bound, ast.List | ast.Tuple | ast.Set):
            return {word for item in bound.elts for word in _variables(item)}
        return set()

    def _of_standards(self) -> None:
        """Add the variables of the SageMaker package: its named constants and the fields of its configuration."""
        for path, source in sorted(self.standards.items()):
            if not path.endswith("config.py") or "/supervisor/" in path:
                continue
            for node in ast.parse(source).body:
                if isinstance(node, ast.ClassDef) and node.name.endswith("EnvVars"):
                    for statement in node.body:
                        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant):
                            self._add(str(statement.value.value), UNSET, path, declared=False)
                if isinstance(node, ast.ClassDef) and node.name.lower() == "sagemakerconfig":
                    for statement in node.body:
                        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                            self._add(f"SAGEMAKER_{statement.target.id.upper()}", UNSET, path, declared=False)


def _variables(node: ast.expr) -> list[str]:
    """Return the word of a string constant that looks like a variable's name."""
    text = node.value if isinstance(node, ast.Constant) else None
    return [text] if isinstance(text, str) and re.fullmatch(r"[A-Z][A-Z0-9_]{3,}", text) else []


def _access(node: ast.AST) -> tuple[ast.expr, ast.expr | None] | None:
    """Return the name and the default of a read of the environment; None for anything else."""
    if isinstance(node, ast.Call) and node.args:
        # Turning every call into text would take most of the time of a build.
        last = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        called = ast.unparse(node.func) if last in ("get", "getenv") else last
        if called in ("os.getenv", "getenv") or (called.endswith("environ.get")):
            default = node.args[1] if len(node.args) > 1 else None
            return node.args[0], default or next((item.value for item in node.keywords if item.arg == "default"), None)
        if last in CHOICES:
            return node.args[0], node.args[1] if len(node.args) > 1 else None
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load) and _is_environ(node.value):
        return node.slice, None
    if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In | ast.NotIn):
        return (node.left, None) if _is_environ(node.comparators[0]) else None
    return None


def _is_environ(node: ast.expr) -> bool:
    return (node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")) == "environ"
