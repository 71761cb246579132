# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an expression of the server's set-up code can stand for, as far as its routes depend on it."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from .booleans import Condition
from .library import Imported, Module


@dataclass(frozen=True)
class Registration:
    """One route as some line of code registers it."""

    method: str
    path: str
    when: Condition
    file: str


@dataclass(eq=False)
class Router:
    """An ``APIRouter`` or the application: its own routes and the conditions under which others include it."""

    routes: list[Registration] = field(default_factory=list)
    included: list[tuple[Router, Condition, str]] = field(default_factory=list)
    application: bool = False


@dataclass(frozen=True)
class Arguments:
    """The parsed command line."""


@dataclass(frozen=True)
class State:
    """``app.state``."""


@dataclass(frozen=True)
class Tasks:
    """The tasks the model supports."""


@dataclass(frozen=True)
class Function:
    """A function of vLLM."""

    module: Module
    node: ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class External:
    """Something another package gives, or a module."""

    name: Imported


@dataclass(eq=False)
class Expression:
    """A value nobody asked for yet: an expression and where its names are to be looked up."""

    node: ast.expr
    frame: Frame


@dataclass(frozen=True)
class Routers:
    """The routes of several routers, or the loop variable that goes over them."""

    members: tuple[Router, ...]


Value = Router | Arguments | State | Tasks | Function | External | Expression | Routers


@dataclass(eq=False)
class Frame:
    """The names of one call of a function, or of a module's top level."""

    module: Module
    names: dict[str, Value] = field(default_factory=dict)
