# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter hardened.vllm.audit_targets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.asked import tried
from ansible_collections.hardened.vllm.plugins.plugin_utils.filter_support import answered, need_mapping

DOCUMENTATION = r"""
name: audit_targets
short_description: Say which ports of which hosts an audit tries from one place
version_added: 0.1.0
author: hardened.vllm maintainers (@hardened-vllm)
extends_documentation_fragment: hardened.vllm.audit.questions
description:
  - Observers, monitors, strangers and the controller try O(ports). Members of a cluster try what listens, what is planned and what
    vLLM, Ray and their helpers use by default.
positional: _input, place, standing
options:
  standing:
    description: What the place is.
    type: str
    choices: [observer, stranger, peer, gateway, monitor, controller]
    required: true
  declared:
    description: Addresses the inventory names, by host.
    type: dict
    default: {}
  ports:
    description: What all but members try.
    type: str
    default: 1-65535
"""

EXAMPLES = r"""
- name: Try every port of every host
  hardened.vllm.audit_reach:
    observer: "{{ inventory_hostname }}"
    targets: "{{ evidence | hardened.vllm.audit_targets(inventory_hostname, 'observer') }}"
"""

RETURN = r"""
_value:
  description: Targets as M(hardened.vllm.audit_reach) takes them.
  type: list
  elements: dict
"""


def _audit_targets(
    hosts: Any, place: str, standing: str, declared: Any = None, plans: Any = None, ports: str = "1-65535"
) -> list[dict[str, str]]:
    name = "audit_targets"
    given = [need_mapping(value or {}, what, name) for value, what in ((declared, "declared"), (plans, "plans"))]
    return answered(name, tried, place, standing, need_mapping(hosts, "the input", name), *given, ports)


class FilterModule:
    """Offers the filter to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by name."""
        return {"audit_targets": _audit_targets}
