# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules for where the model comes from: a directory of the nodes, or one revision of a repository."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..problems import Problem
from .kinds import Report

# Below it each revision has a directory of its own; the role preflight spells the same path.
ROOT = "/srv/hardened-vllm/models"


def directory(source: Mapping[str, Any]) -> str:
    """Return the directory on the nodes for the revision of ``source``."""
    return f"{ROOT}/{source['repository'].replace('/', '--')}/{source['revision']}"


def read_model(values: Mapping[str, Any], written: Any, report: Report) -> None:
    """Ask for exactly one place a model comes from; give a fetched one the path that others are read from.

    ``written`` is the declaration as it was given: what is there but wrong has been reported.
    """
    model = values["model"]
    if model is None:
        return
    given = [key for key in ("path", "source") if written["model"].get(key) is not None]
    if len(given) != 1:
        report(
            Problem(
                "vllm_cluster.model",
                "model-source",
                "both path and source" if given else "neither path nor source",
                "one place the model comes from",
                "Give model.path for a directory that is on the nodes, or model.source for a repository and revision to fetch.",
            )
        )
    source = model["source"]
    if given == ["source"] and source is not None and source["repository"] and source["revision"]:
        model["path"] = directory(source)
