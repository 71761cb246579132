# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter hardened.vllm.audit_evidence."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.evidence import Evidence
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.gathering import gathered
from ansible_collections.hardened.vllm.plugins.plugin_utils.filter_support import need_mapping

DOCUMENTATION = r"""
name: audit_evidence
short_description: Put what was collected on all hosts together
version_added: 0.1.0
author: hardened.vllm maintainers (@hardened-vllm)
description:
  - A host that gave no answer is named with the reason, so that nobody takes what was not looked at for good.
positional: _input, reaches, answers, standings, missing
options:
  _input:
    description: Results of M(hardened.vllm.audit_host) by inventory name, as they were registered.
    type: dict
    required: true
  reaches:
    description: Results of M(hardened.vllm.audit_reach) by the place that looked.
    type: dict
    default: {}
  answers:
    description: Results of M(hardened.vllm.audit_routes) by the place that asked.
    type: dict
    default: {}
  standings:
    description: >-
      What each place was asked as (C(standing) of M(hardened.vllm.audit_reach)), by name; C(controller) for others. What a place returns under another
      standing does not count. Not compared when left out.
    type: dict
  missing:
    description: What P(hardened.vllm.audit_plans#filter) says is missing.
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: Keep what was seen of one host
  ansible.builtin.set_fact:
    evidence: "{{ {inventory_hostname: looked} | hardened.vllm.audit_evidence }}"
"""

RETURN = r"""
_value:
  description: The evidence, as C(plugins/plugin_utils/audit/evidence.py) describes it.
  type: dict
"""


def _audit_evidence(
    looks: Any, reaches: Any = None, answers: Any = None, standings: Any = None, missing: Any = None
) -> Evidence:
    name = "audit_evidence"
    parts = ((looks, "the input"), (reaches or {}, "reaches"), (answers or {}, "answers"))
    given = [need_mapping(value, what, name) for value, what in parts]
    known = None if standings is None else need_mapping(standings, "standings", name)
    found = gathered(given[0], given[1], given[2], datetime.datetime.now(datetime.UTC), known)
    return {**found, "missing": [*found["missing"], *(missing or ())]}


class FilterModule:
    """Offers the filter to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by name."""
        return {"audit_evidence": _audit_evidence}
