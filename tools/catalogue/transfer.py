# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What moves data between engines: configuration classes, connectors, the keys connectors read, other HTTP servers."""

from __future__ import annotations

import ast
from typing import Any

from .fields import Code, FieldReader
from .flags import plain_default
from .library import Library
from .routes import METHODS

CLASSES = {
    "KVTransferConfig": ("vllm.config.kv_transfer", "vllm.config"),
    "KVEventsConfig": ("vllm.config.kv_events", "vllm.config"),
    "ECTransferConfig": ("vllm.config.ec_transfer", "vllm.config"),
    "ProfilerConfig": ("vllm.config.profiler", "vllm.config"),
    "WeightTransferConfig": ("vllm.config.weight_transfer", "vllm.config"),
    "FaultToleranceConfig": ("vllm.config.fault_tolerance", "vllm.config"),
    "ParallelConfig": ("vllm.config.parallel", "vllm.config"),
}
# Of this class only the addresses and ports matter here; its other fields are options of their own.
PARALLEL = ("_ip", "_port", "_addr", "_address")
# Others are handed on as a whole mapping, so that no attribute shows who reads them.
READ_BY_ATTRIBUTE = ("KVTransferConfig", "ECTransferConfig")
FACTORIES = {"KVConnectorFactory": "kv", "ECConnectorFactory": "ec"}


def read_fields(library: Library) -> dict[str, dict[str, Any]]:
    """Return ``Class.field`` to its type, default and, for addresses and ports, the files that read it."""
    reader = FieldReader(library)
    found: dict[str, dict[str, Any]] = {}
    for name, modules in CLASSES.items():
        definition = reader.find(name, modules)
        for field in reader.fields(*definition).values() if definition else ():
            if field.name.startswith("_") or (name == "ParallelConfig" and not field.name.endswith(PARALLEL)):
                continue
            entry: dict[str, Any] = {"type": field.annotation}
            entry |= (
                {"default_code": field.default.text}
                if isinstance(field.default, Code)
                else {"default": plain_default(field.default)}
            )
            if name in READ_BY_ATTRIBUTE and field.name.endswith(PARALLEL):
                entry["read_by"] = _readers(library, field.name)
            found[f"{name}.{field.name}"] = entry
    return dict(sorted(found.items()))


def _readers(library: Library, attribute: str) -> list[str]:
    """Return the packages under vllm/distributed whose code reads ``.attribute`` or the mapping key of that name."""
    found = set()
    for path, text in library.files.items():
        if path.startswith("vllm/distributed/") and attribute in text:
            module = library.at(path)
            for node in ast.walk(module.tree) if module else ():
                if isinstance(node, ast.Attribute) and node.attr == attribute and not _is_self(node.value):
                    found.add(path)
    return sorted(found)


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"


def read_connectors(library: Library) -> dict[str, dict[str, Any]]:
    """Return the registered connectors by ``kind:name`` with their modules."""
    found: dict[str, dict[str, Any]] = {}
    for path, text in library.files.items():
        if "register_connector(" not in text or not path.startswith("vllm/distributed/"):
            continue
        module = library.at(path)
        for node in ast.walk(module.tree) if module else ():
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and len(node.args) >= 2):
                continue
            factory = ast.unparse(node.func.value)
            if node.func.attr == "register_connector" and factory in FACTORIES:
                name, where = (str(argument.value) for argument in node.args[:2] if isinstance(argument, ast.Constant))
                found[f"{FACTORIES[factory]}:{name}"] = {"module": where}
    return dict(sorted(found.items()))


def read_extra_keys(library: Library) -> dict[str, dict[str, Any]]:
    """Return ``package:key`` for each key that connectors read from their extra configuration, with its default."""
    found: dict[str, dict[str, Any]] = {}
    for path, text in library.files.items():
        if not path.startswith("vllm/distributed/") or "extra_config" not in text:
            continue
        module = library.at(path)
        for node in ast.walk(module.tree) if module else ():
            key: ast.expr | None = None
            default: ast.expr | None = None
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                owner = ast.unparse(node.func.value)
                if node.func.attr == "get_from_extra_config" or (
                    node.func.attr == "get" and owner.endswith("extra_config")
                ):
                    key, default = node.args[0], node.args[1] if len(node.args) > 1 else None
            elif isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith("extra_config"):
                key = node.slice
            if not (isinstance(key, ast.Constant) and isinstance(key.value, str)) or module is None:
                continue
            name = f"{_package(path)}:{key.value}"
            if default is not None and found.get(name, {"default": None}) == {"default": None}:
                value = FieldReader(library).default(module, default)
                found[name] = {"default_code": value.text} if isinstance(value, Code) else {"default": value}
            found.setdefault(name, {"default": None})
    return dict(sorted(found.items()))


def _package(path: str) -> str:
    """Return the connector a file belongs to: its directory below the connectors, or itself."""
    inner = path.removeprefix("vllm/distributed/").removesuffix(".py")
    for base in ("kv_transfer/kv_connector/v1/", "ec_transfer/ec_connector/", "kv_transfer/"):
        inner = inner.removeprefix(base)
    return inner.split("/")[0]


def read_servers(library: Library, known: set[str]) -> dict[str, dict[str, Any]]:
    """Return ``file METHOD /path`` for the routes of HTTP applications other than the API server (files ``known``)."""
    found: dict[str, dict[str, Any]] = {}
    for path, text in library.files.items():
        if "FastAPI(" not in text or path in known or path.startswith("vllm/benchmarks/"):
            continue
        module = library.at(path)
        for node in ast.walk(module.tree) if module else ():
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
                continue
            owner = ast.unparse(node.func.value).rpartition(".")[2]
            first = node.args[0]
            if (
                owner == "app"
                and node.func.attr in METHODS
                and isinstance(first, ast.Constant)
                and isinstance(first.value, str)
            ):
                found[f"{path} {node.func.attr.upper()} {first.value}"] = {}
    return dict(sorted(found.items()))
