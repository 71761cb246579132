# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter hardened.vllm.validate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.hardened.vllm.plugins.plugin_utils.core import validate
from ansible_collections.hardened.vllm.plugins.plugin_utils.filter_support import day, need_mapping, translated

DOCUMENTATION = r"""
name: validate
short_description: Find every problem of a declared vLLM cluster
version_added: 0.1.0
author: hardened.vllm maintainers (@hardened-vllm)
description:
  - Checks the declaration of a cluster and its hosts, and lints what it would start. Touches no host.
positional: _input
options:
  _input:
    description: The declaration, the value of C(vllm_cluster).
    type: dict
    required: true
  hosts:
    description: >-
      The hosts of the cluster by name. Each has C(roles) (of engine, gateway, monitor, observer), C(node) (its C(vllm_node))
      and, where it was probed, C(probe) (what module M(hardened.vllm.probe) returned).
    type: dict
    required: true
  today:
    description: The day waivers are judged on, in ISO form. The current day when it is left out.
    type: str
"""

EXAMPLES = r"""
- name: Refuse a declaration with problems
  ansible.builtin.assert:
    that: vllm_cluster | hardened.vllm.validate(hosts) | selectattr('severity', 'eq', 'error') | length == 0
  vars:
    hosts: "{{ (groups | hardened.vllm.clusters(hostvars)).clusters[vllm_cluster.name].hosts }}"
"""

RETURN = r"""
_value:
  description: The problems, sorted by path. Empty when there is none.
  type: list
  elements: dict
  contains:
    rule:
      description: Id of the rule.
      type: str
    severity:
      description: One of error, warning and info.
      type: str
    path:
      description: Where it is.
      type: str
    found:
      description: What was found, never a secret.
      type: str
    expected:
      description: What was expected.
      type: str
    remedy:
      description: How to mend it.
      type: str
    message:
      description: All of it in one line.
      type: str
"""


def _validate(declaration: Any, hosts: Any, today: str | None = None) -> list[dict[str, str]]:
    need_mapping(hosts, "hosts", "validate")
    return [problem.as_dict() for problem in translated(validate, declaration, hosts, day(today, "validate"))]


class FilterModule:
    """Offers the filter to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by name."""
        return {"validate": _validate}
