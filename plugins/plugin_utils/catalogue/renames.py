# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What to say about an option, variable, field or connector that a release does not have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .history import at, load, position, presence

KINDS = ("flags", "variables", "fields", "connectors")
_WRITTEN = {"flags": "--{}", "variables": "{}", "fields": "{}", "connectors": "{}"}


@dataclass(frozen=True)
class Advice:
    """Why a release does not have a name and what to do instead.

    ``gone`` is the first release without it and ``comes`` the first with it, where there is one; both are None for a name no
    known release has. ``remedy`` is empty where nothing is known to help; ``use`` are names the release has that do the same.
    """

    name: str
    gone: str | None
    comes: str | None
    remedy: str
    use: tuple[str, ...]

    def sentence(self) -> str:
        """Return the history of the name as one sentence."""
        if self.gone is not None:
            return f"{self.name} is gone since {self.gone}."
        if self.comes is not None:
            return f"{self.name} comes with {self.comes}."
        return f"No known release has {self.name}."


def advice(kind: str, name: str, release: str) -> Advice | None:
    """Return what to say about ``name`` in ``release``; None when the release has it.

    ``kind`` is one of KINDS. Names are those of the source: options without dashes, ``Class.field``, ``kv:Connector``.
    KeyError for an unknown release.
    """
    if name in at(kind, release):
        return None
    here = position(release)
    gone = comes = None
    for since, until in presence(kind, name):
        if until is not None and position(until) <= here:
            gone = until
        elif position(since) > here and comes is None and gone is None:
            comes = since
    said = _said(load("renames.yml")[kind].get(name, {}), here) if comes is None else {}
    return Advice(_WRITTEN[kind].format(name), gone, comes, said.get("text", ""), tuple(said.get("use", ())))


def told(kind: str, name: str, release: str) -> str:
    """Return what is known about a ``name`` that ``release`` does not have, as text for people; empty when nothing is."""
    said = advice(kind, name, release)
    if said is None or not (said.gone or said.comes or said.remedy):
        return ""
    remedy = said.remedy or ("Leave it out until then." if said.comes else "")
    return " ".join(part for part in (said.sentence(), remedy) if part)


def _said(entry: Mapping[str, Any], here: int) -> Mapping[str, Any]:
    for said in entry.get("say", ()):
        after = "since" not in said or position(said["since"]) <= here
        before = "until" not in said or here < position(said["until"])
        if after and before:
            found: Mapping[str, Any] = said
            return found
    return {}


@dataclass(frozen=True)
class Socket:
    """A listener of a connector: what sets its address and its first port, and how further ports follow.

    ``address`` and ``port`` are a variable, a ``Class.field`` or ``extra.KEY``; ``*`` is every interface, which nothing but a
    firewall closes, and ``ephemeral`` a port of the kernel's range. ``stride`` is none, data_parallel or
    tensor_and_data_parallel.
    """

    name: str
    address: str
    port: str
    stride: str


def sockets(kind: str, connector: str, release: str) -> tuple[Socket, ...]:
    """Return the listeners ``connector`` of ``kind`` (kv or ec) opens in ``release``; KeyError when it has no such one."""
    name = f"{kind}:{connector}"
    if name not in at("connectors", release):
        raise KeyError(name)
    here = position(release)
    (judged,) = (entry for entry in load("connectors.yml") if entry["name"] == name)
    return tuple(
        Socket(entry["name"], entry["address"], entry["port"], entry["stride"])
        for entry in judged.get("sockets", ())
        if ("since" not in entry or position(entry["since"]) <= here)
        and ("until" not in entry or here < position(entry["until"]))
    )
