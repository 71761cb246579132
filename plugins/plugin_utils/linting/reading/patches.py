# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pieces of Kubernetes objects that Kustomize puts on top of others: what is missing in them says nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..texts import Reading
from .yaml_reading import Map, items, mapping, scalar

if TYPE_CHECKING:
    from .kubernetes import Object


def patched(known: Sequence[Object]) -> set[str]:
    """Return the files a kustomization among ``known`` puts on top of others."""
    found: set[str] = set()
    for item in known:
        if item.kind in ("Kustomization", "Component"):
            folder = f"{item.path.rpartition('/')[0]}/" if "/" in item.path else ""
            listed = [*items(item.body.get("patches")), *items(item.body.get("patchesStrategicMerge"))]
            names = (scalar(entry) or scalar(mapping(entry).get("path")) for entry in listed)
            found.update(f"{folder}{name.removeprefix('./')}" for name in names if name is not None)
    return found


def unfinished(owner: Object, spec: Map) -> bool:
    """Tell whether ``owner`` with the pods ``spec`` is a piece: it has neither a selector nor a command."""
    version = str(scalar(owner.body.get("apiVersion")) or "")
    if not version.startswith("apps/") or "selector" in mapping(owner.body.get("spec")):
        return False
    return not any("command" in item or "args" in item for item in map(mapping, items(spec.get("containers"))))


def as_part(reading: Reading) -> Reading:
    """Return ``reading`` of a piece: what is there, and nothing of what is missing."""
    processes = [dataclasses.replace(process, fragment=True) for process in reading.processes]
    return Reading(processes, [note for note in reading.notes if note.found != "nothing"])
