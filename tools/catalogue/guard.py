# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rule by which ``--api-key`` guards a path: prefixes, where the path comes from, how keys are compared."""

from __future__ import annotations

import ast
from typing import Any

from .library import Library, Module

CLASS = "AuthenticationMiddleware"


def read_guard(library: Library) -> dict[str, Any]:
    """Return the rule: prefixes, path_from (scope or url), constant_time, skipped_methods, strips_root_path, file.

    Raises ValueError, saying what was looked for, when the middleware is not written as it was in any known release.
    """
    for path in sorted(library.files):
        if path.startswith("vllm/entrypoints/") and f"class {CLASS}" in library.files[path]:
            module = library.at(path)
            node = module and module.names.get(CLASS, [None])[-1]
            if module is not None and isinstance(node, ast.ClassDef):
                return _rule(library, module, node)
    raise ValueError(f"no class {CLASS} under vllm/entrypoints")


def _rule(library: Library, module: Module, node: ast.ClassDef) -> dict[str, Any]:
    call = next(item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__call__")
    tests = [
        item
        for item in ast.walk(call)
        if isinstance(item, ast.Call) and isinstance(item.func, ast.Attribute) and item.func.attr == "startswith"
    ]
    if len(tests) != 1:
        raise ValueError(f"{module.path}: {len(tests)} calls of startswith in {CLASS}.__call__, one was expected")
    found = library.constant(module, tests[0].args[0])
    written = ast.unparse(call)
    if "URL(scope=scope).path" in written:
        source = "url"
    elif "scope['path']" in written:
        source = "scope"
    else:
        raise ValueError(f"{module.path}: {CLASS} takes the path from neither the scope nor its URL")
    return {
        "prefixes": [found] if isinstance(found, str) else list(found) if isinstance(found, tuple) else [],
        "path_from": source,
        "strips_root_path": ".removeprefix(root_path)" in written,
        "skipped_methods": ["OPTIONS"] if "'OPTIONS'" in written else [],
        "constant_time": "compare_digest" in ast.unparse(node),
        "file": module.path,
    }
