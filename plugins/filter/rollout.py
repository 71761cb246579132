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
  spared:
    description: >-
      Nodes whose engines are left out: those in quarantine, which must get no new key, and those left out by name, which need not be in the
      input.
    type: list
    elements: str
    default: []
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
    - C(left_out) names the engines that stay as they are, C(silence) their upstreams that are not drained yet, C(notice) says so in words.
  type: dict
"""


def _rollout(
    hosts: Any, hostvars: Any, drained: Any = None, drain_seconds: int = 600, spared: Any = None
) -> dict[str, Any]:
    if not isinstance(hosts, (list, tuple)) or not isinstance(hostvars, Mapping):
        raise AnsibleFilterError("hardened.vllm.rollout: expected a list of hosts and the variable hostvars")
    found = {
        host: {"plan": hostvars[host]["preflight_plan"], "looks": hostvars[host].get("engine_look", {})}
        for host in hosts
    }
    try:
        return dict(rollout.change(found, drained or {}, int(drain_seconds), list(spared or [])))
    except ValueError as problem:
        raise AnsibleFilterError(f"hardened.vllm.rollout: {problem}") from problem


class FilterModule:
    """Offers the filter to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by name."""
        return {"rollout": _rollout}
