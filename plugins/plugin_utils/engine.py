# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges the nodes of one engine together: it works only when each of its nodes does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

Progress = Literal["ready", "waiting", "failed"]


class Verdict(TypedDict):
    """The state of a whole engine.

    ``restart``: some node has something new, so that all of them restart. ``startable``: every node has a unit.
    ``message``: for people, one paragraph per node that is not ready, each with the end of its journal.
    """

    progress: Progress
    restart: bool
    startable: bool
    message: str


def judge(results: Mapping[str, Mapping[str, Any] | None]) -> Verdict:
    """Combine what the modules engine_generation or engine_ready said on the nodes of one engine.

    ``results`` holds, by node, the module's result, or None for a node that gave none because it could not be
    reached or an earlier task failed on it. Raises ValueError when there are no nodes.
    """
    if not results:
        raise ValueError("an engine without nodes; expected the result of at least one")
    progress: dict[str, Progress] = {node: _progress(result) for node, result in results.items()}
    given = [result for result in results.values() if result is not None]
    worst: Progress = "ready"
    if "failed" in progress.values():
        worst = "failed"
    elif "waiting" in progress.values():
        worst = "waiting"
    return Verdict(
        progress=worst,
        restart=any(bool(result.get("restart_needed")) for result in given),
        startable=len(given) == len(results) and all(bool(result.get("startable")) for result in given),
        message="\n".join(_describe(node, result) for node, result in results.items() if progress[node] != "ready"),
    )


def _progress(result: Mapping[str, Any] | None) -> Progress:
    """Read how things stand; a module that broke before it could say so has failed."""
    said = "failed" if result is None else result.get("progress")
    if said == "ready":
        return "ready"
    return "waiting" if said == "waiting" else "failed"


def _describe(node: str, result: Mapping[str, Any] | None) -> str:
    if result is None:
        return f"{node}: gave no answer; it cannot be reached or an earlier task failed on it (see above)"
    problem = str(result.get("problem") or result.get("msg") or "no reason given").strip()
    journal: Sequence[str] = result.get("journal") or []
    if not journal:
        return f"{node}: {problem}"
    return "\n".join([f"{node}: {problem}", f"{node}: its journal ends with", *("    " + line for line in journal)])


def explain_failure(
    name: str, failure: str, *, restarted: bool, restored: Verdict | None, again: Verdict | None
) -> str:
    """Say what failed on the engine ``name`` and what serves now.

    ``restarted``: the nodes had been stopped for the new state. ``restored``: the verdict on putting the former
    files back, None when there was nothing to put back. ``again``: the verdict on starting them, None when not tried.
    """
    lines = [f"Engine {name} does not serve as declared.", failure]
    if restored is not None and restored["progress"] != "ready":
        lines += ["The former state could not be put back everywhere:", restored["message"]]
        lines.append("The engine does not serve. Mend these nodes and run again.")
    elif not restarted:
        lines.append("Nothing was restarted: what ran before still runs, unchanged.")
    elif restored is None or not restored["startable"]:
        lines.append("There was no former state to go back to: the unit is stopped and removed again, nothing serves.")
    elif again is None or again["progress"] != "ready":
        lines += ["The former state is back, but does not serve either:", again["message"] if again else ""]
    else:
        lines.append("The former state is back on all its nodes and generates again.")
    lines.append("Correct what the lines above name in vllm_cluster or on the node, then run again.")
    return "\n".join(lines)
