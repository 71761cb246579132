# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter hardened.vllm.plan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.hardened.vllm.plugins.plugin_utils.core import plan
from ansible_collections.hardened.vllm.plugins.plugin_utils.filter_support import day, need_mapping, translated

DOCUMENTATION = r"""
name: plan
short_description: Work out everything each host of a vLLM cluster must be
version_added: 0.1.0
author: hardened.vllm maintainers (@hardened-vllm)
description:
  - Turns a declaration into arguments, environment, secrets by name, listeners and who may reach them, upstreams and
    the reachability matrix. The same input gives the same plan. No secret is in it.
  - Fails with every error at once when the declaration is invalid.
positional: _input
options:
  _input:
    description: The declaration, the value of C(vllm_cluster).
    type: dict
    required: true
  hosts:
    description: >-
      The hosts of the cluster by name. Each has C(roles), C(node) and, where it was probed, C(probe).
      Without a probe, interfaces that are not declared stay empty.
    type: dict
    required: true
  today:
    description: The day waivers are judged on, in ISO form. The current day when it is left out.
    type: str
"""

EXAMPLES = r"""
- name: Print who may reach what
  ansible.builtin.debug:
    msg: "{{ (vllm_cluster | hardened.vllm.plan(hosts)).matrix }}"
  vars:
    hosts: "{{ (groups | hardened.vllm.clusters(hostvars)).clusters[vllm_cluster.name].hosts }}"
"""

RETURN = r"""
_value:
  description: The plan; docs/plan.md describes its keys.
  type: dict
"""


def _plan(declaration: Any, hosts: Any, today: str | None = None) -> dict[str, Any]:
    need_mapping(hosts, "hosts", "plan")
    return translated(plan, declaration, hosts, day(today, "plan"))


class FilterModule:
    """Offers the filter to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by name."""
        return {"plan": _plan}
