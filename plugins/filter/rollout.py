# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter hardened.vllm.rollout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.hardened.vllm.plugins.plugin_utils import rollout

DOCUMENTATION = r"""
name: rollout
short_description: Say in which order the engines of a cluster change
version_added: 0.1.0
author: hardened.vllm maintainers (@hardened-vllm)
description:
  - Reads the plan of every host and what the role C(engine) saw there (C(tasks_from) C(look)), and returns one step for each engine.
  - Engines that serve nobody come first. An engine with nobody to serve in its place is marked.
positional: _input
options:
  _input:
    description: Names of the cluster's hosts in the play, engines and gateways.
    type: list
    elements: str
    required: true
  hostvars:
    description: The variable C(hostvars).
    type: dict
    required: true
  drained:
    description: Who drained which upstream, by its name; what a change drained comes back.
    type: dict
    default: {}
  drain_seconds:
    description: How long requests under way may take.
    type: int
    default: 600
"""

EXAMPLES = r"""
- name: Plan the change
  ansible.builtin.set_fact:
    rollout: "{{ ansible_play_batch | hardened.vllm.rollout(hostvars, preflight_drained_by) }}"
"""

RETURN = r"""
_value:
  description:
    - C(steps) has for each engine C(engine), C(members), C(restart), C(drain) and C(readmit) (names of upstreams), C(alone),
      C(expected) and C(ready_seconds). C(away) says for whom service is away and how long, empty when for nobody.
  type: dict
"""


def _rollout(hosts: Any, hostvars: Any, drained: Any = None, drain_seconds: int = 600) -> dict[str, Any]:
    if not isinstance(hosts, (list, tuple)) or not isinstance(hostvars, Mapping):
        raise AnsibleFilterError("hardened.vllm.rollout: expected a list of hosts and the variable hostvars")
    clusters = sorted({hostvars[host]["preflight_plan"]["cluster"]["cluster"] for host in hosts})
    if len(clusters) != 1:
        raise AnsibleFilterError(
            f"hardened.vllm.rollout: one cluster changes at a time, found {', '.join(clusters) or 'none'};"
            " choose one with --limit"
        )
    parts = {host: hostvars[host]["preflight_plan"]["host"] for host in hosts}
    seen: dict[str, list[Mapping[str, Any]]] = {}
    members = hostvars[hosts[0]]["preflight_plan"]["cluster"]["members"]
    missing = sorted({node for nodes in members.values() for node in nodes} - set(hosts))
    missing += [] if any(part["gateway"] for part in parts.values()) else ["its gateways"]
    if missing:
        raise AnsibleFilterError(
            "hardened.vllm.rollout: the run does not reach all of the cluster, missing"
            f" {', '.join(missing)}; run without --limit or name them too"
        )
    for host in hosts:
        for engine, look in hostvars[host].get("engine_look", {}).items():
            seen.setdefault(engine, []).append(look)
    looks = {engine: rollout.combine(parts) for engine, parts in seen.items()}
    found = rollout.steps(parts, members, looks, drained or {})
    return {"steps": found, "away": rollout.interruption(found, looks, int(drain_seconds))}


class FilterModule:
    """Offers the filter to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by name."""
        return {"rollout": _rollout}
