# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter hardened.vllm.explain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.hardened.vllm.plugins.plugin_utils.filter_support import need_mapping
from ansible_collections.hardened.vllm.plugins.plugin_utils.report.explain import explain

DOCUMENTATION = r"""
name: explain
short_description: Say in words what a plan means
version_added: 0.1.0
author: hardened.vllm maintainers (@hardened-vllm)
description:
  - One line for each host and each listener, with who may reach it and why.
positional: _input
options:
  _input:
    description: A plan made by P(hardened.vllm.plan#filter).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Say what would be open to whom
  ansible.builtin.debug:
    msg: "{{ vllm_cluster | hardened.vllm.plan(hosts) | hardened.vllm.explain }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""


def _explain(plan: Any) -> list[str]:
    return explain(need_mapping(plan, "the input", "explain"))


class FilterModule:
    """Offers the filter to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by name."""
        return {"explain": _explain}
