# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules for where vLLM is installed from: one source, one list of pins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..problems import Problem
from .kinds import Report

# What a key already settles, so that another key beside it would be ignored.
_SETTLED_BY = {
    "bundle": ("index_url", "index_hosts", "find_links", "lock", "requirements"),
    "lock": ("requirements",),
}


def check_install(install: Mapping[str, Any], report: Report) -> None:
    """Refuse two sources or two lists of pins of which one would be ignored."""
    existing = install["method"] == "existing"
    for key, settled in _SETTLED_BY.items():
        if not install[key]:
            continue
        for other in ("method", *settled) if existing else settled:
            if other == "method" or install[other]:
                report(
                    Problem(
                        f"vllm_cluster.install.{key}",
                        "install-source",
                        f"{key} beside {'method: existing' if other == 'method' else other}",
                        "one source of vLLM and one list of pins",
                        f"Leave out install.{key} or install.{other}.",
                    )
                )
