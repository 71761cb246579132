# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter hardened.vllm.clusters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.hardened.vllm.plugins.plugin_utils.filter_support import need_mapping
from ansible_collections.hardened.vllm.plugins.plugin_utils.inventory import clusters

DOCUMENTATION = r"""
name: clusters
short_description: Sort the hosts of an inventory into vLLM clusters
version_added: 0.1.0
author: hardened.vllm maintainers (@hardened-vllm)
description:
  - Reads the groups C(vllm_nodes), C(vllm_gateways), C(vllm_monitors) and C(vllm_observers).
  - Of each host's variables it reads C(vllm_cluster), C(vllm_node) and, where it was probed, C(preflight_probe) only.
positional: _input
options:
  _input:
    description: The groups of the inventory, usually C(groups).
    type: dict
    required: true
  hostvars:
    description: Variables by host, usually C(hostvars).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show which clusters there are
  ansible.builtin.debug:
    msg: "{{ (groups | hardened.vllm.clusters(hostvars)).clusters.keys() | list }}"
"""

RETURN = r"""
_value:
  description: The clusters by name under C(clusters), and what keeps a host out of any under C(problems).
  type: dict
"""


def _clusters(groups: Any, hostvars: Any) -> dict[str, Any]:
    need_mapping(groups, "the input", "clusters")
    found, problems = clusters(groups, need_mapping(hostvars, "hostvars", "clusters"))
    return {"clusters": found, "problems": [problem.as_dict() for problem in problems]}


class FilterModule:
    """Offers the filter to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by name."""
        return {"clusters": _clusters}
