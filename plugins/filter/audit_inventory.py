# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter hardened.vllm.audit_inventory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.asked import inventoried
from ansible_collections.hardened.vllm.plugins.plugin_utils.filter_support import answered, need_mapping

DOCUMENTATION = r"""
name: audit_inventory
short_description: Say which hosts of an inventory an audit looks at, and which of them have a plan
version_added: 0.1.0
author: hardened.vllm maintainers (@hardened-vllm)
description:
  - Unlike P(hardened.vllm.clusters#filter) it takes hosts without C(vllm_cluster), which are audited as foreign.
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
  evidence:
    description: Evidence of the hosts looked at so far, by inventory name; their interfaces are read from it.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Show which hosts nobody declared
  ansible.builtin.debug:
    msg: "{{ (groups | hardened.vllm.audit_inventory(hostvars)).foreign }}"
"""

RETURN = r"""
_value:
  description: >-
    C(clusters) and C(problems) as of P(hardened.vllm.clusters#filter), C(hosts) to look at, C(foreign) ones among them, and C(declared), the
    addresses of each.
  type: dict
"""


def _audit_inventory(groups: Any, hostvars: Any, evidence: Any = None) -> dict[str, Any]:
    name = "audit_inventory"
    need_mapping(groups, "the input", name)
    given = [need_mapping(hostvars, "hostvars", name), need_mapping(evidence or {}, "evidence", name)]
    found = answered(name, inventoried, groups, *given)
    return {**found, "problems": [problem.as_dict() for problem in found["problems"]]}


class FilterModule:
    """Offers the filter to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by name."""
        return {"audit_inventory": _audit_inventory}
