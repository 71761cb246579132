# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter hardened.vllm.audit_plans."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.asked import expected
from ansible_collections.hardened.vllm.plugins.plugin_utils.filter_support import answered, day, need_mapping

DOCUMENTATION = r"""
name: audit_plans
short_description: Make the plans an audit compares with
version_added: 0.1.0
author: hardened.vllm maintainers (@hardened-vllm)
description:
  - Unlike P(hardened.vllm.plan#filter) it refuses nothing. Where a declaration has errors and can be planned nevertheless, it is; where it cannot, its hosts
    are named with the reason. A waiver that is over is left to the judge.
positional: _input, today
options:
  _input:
    description: What P(hardened.vllm.audit_inventory#filter) returns.
    type: dict
    required: true
  today:
    description: The day waivers are judged on, in ISO form. The current day when it is left out.
    type: str
"""

EXAMPLES = r"""
- name: Show what keeps hosts from being compared with a plan
  ansible.builtin.debug:
    msg: "{{ (groups | hardened.vllm.audit_inventory(hostvars) | hardened.vllm.audit_plans).missing }}"
"""

RETURN = r"""
_value:
  description: >-
    C(plans) by cluster, C(waivers) that can be read, and C(missing), a list of C(host), C(part) (C(plan) for a host without one, C(declaration) for an error
    of one that was planned) and C(reason).
  type: dict
"""


def _audit_plans(inventory: Any, today: str | None = None) -> dict[str, Any]:
    name = "audit_plans"
    return answered(name, expected, need_mapping(inventory, "the input", name), day(today or None, name))


class FilterModule:
    """Offers the filter to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by name."""
        return {"audit_plans": _audit_plans}
