# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter hardened.vllm.audit_asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.asked import requested
from ansible_collections.hardened.vllm.plugins.plugin_utils.filter_support import answered, need_mapping

DOCUMENTATION = r"""
name: audit_asks
short_description: Say which routes an audit asks of which servers from one place
version_added: 0.1.0
author: hardened.vllm maintainers (@hardened-vllm)
extends_documentation_fragment: hardened.vllm.audit.questions
description:
  - Gateways of the plans are asked for every route of the release, with no key and, where O(key) names one, a right one, for their own routes and some others
    with a wrong one too; for the others in disguises. Requests without a good key keep to what the gateway lets one source do.
  - Everything else that was found open is asked for every route of vLLM, or those of Ray, with no key and a wrong one, and in disguises.
  - Nothing that is asked changes a server.
positional: _input, place
options:
  reach:
    description: What M(hardened.vllm.audit_reach) found from the places.
    type: list
    elements: dict
    default: []
  key:
    description: Name of a tenant's key that will be given to M(hardened.vllm.audit_routes).
    type: str
  limits:
    description: >-
      Whether to try that wrong keys are slowed down, with more of them than the gateway allows in a minute, and that the tenant O(key) belongs to is held to
      its rate, with 500 requests at most.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Say what would be asked
  ansible.builtin.debug:
    msg: "{{ evidence | hardened.vllm.audit_asks('observer', plans) }}"
"""

RETURN = r"""
_value:
  description: C(endpoints) and C(requests) as M(hardened.vllm.audit_routes) takes them.
  type: dict
"""


def _audit_asks(
    hosts: Any, place: str, plans: Any = None, reach: Any = (), key: str | None = None, limits: bool = False
) -> dict[str, Any]:
    name = "audit_asks"
    given = [need_mapping(hosts, "the input", name), need_mapping(plans or {}, "plans", name)]
    return answered(name, requested, place, *given, list(reach or ()), key or None, limits)


class FilterModule:
    """Offers the filter to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by name."""
        return {"audit_asks": _audit_asks}
