# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter hardened.vllm.audit_judge."""

from __future__ import annotations

DOCUMENTATION = r"""
name: audit_judge
short_description: Judge what an audit collected
version_added: 0.1.0
author: hardened.vllm maintainers (@hardened-vllm)
description:
  - Gives every control of the registry (C(docs/controls.md)) an outcome on every host, and the findings with their evidence and the
    exact mend. What could not be looked at is V(not checked), never V(passed).
  - A host that no plan knows is judged as it was found.
positional: _input
options:
  _input:
    description: The evidence, as the modules of the audit collected it.
    type: dict
    required: true
  plans:
    description: The plans of the clusters by name, as P(hardened.vllm.plan#filter) returns them.
    type: dict
    default: {}
  waivers:
    description: What is accepted for a while, in the form of C(vllm_cluster.waivers).
    type: list
    elements: dict
    default: []
  digests:
    description: SHA-256 (64 hexadecimal digits) of secrets by their names, so that they are recognised where they should not be.
    type: dict
    default: {}
  previous:
    description: The former result to compare with.
    type: dict
  today:
    description: The day waivers and certificates are judged on, in ISO form. The current day when it is left out.
    type: str
"""

EXAMPLES = r"""
- name: Judge hosts nobody planned
  ansible.builtin.set_fact:
    audit_result: "{{ audit_evidence | hardened.vllm.audit_judge }}"
"""

RETURN = r"""
_value:
  description: The result; C(docs/audit.schema.json) describes it.
  type: dict
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.asked import judged
from ansible_collections.hardened.vllm.plugins.plugin_utils.filter_support import answered, day, need_mapping

_NAME = "audit_judge"


def _audit_judge(
    evidence: Any,
    plans: Mapping[str, Any] | None = None,
    waivers: list[Any] | None = None,
    digests: Mapping[str, str] | None = None,
    previous: Mapping[str, Any] | None = None,
    today: str | None = None,
) -> dict[str, Any]:
    need_mapping(evidence, "the evidence", _NAME)
    for value, what in ((plans, "plans"), (digests, "digests"), (previous, "previous")):
        if value is not None:
            need_mapping(value, what, _NAME)
    given = (evidence, plans or {}, waivers or [], digests or {}, day(today or None, _NAME), previous)
    return answered(_NAME, judged, *given)


class FilterModule:
    """Offers the filter to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by name."""
        return {_NAME: _audit_judge}
