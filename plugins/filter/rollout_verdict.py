# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter hardened.vllm.rollout_verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.hardened.vllm.plugins.plugin_utils import rollout

DOCUMENTATION = r"""
name: rollout_verdict
short_description: Say whether an engine serves after its step of a change, and what stands when it failed
version_added: 0.1.0
author: hardened.vllm maintainers (@hardened-vllm)
description:
  - Reads the fact C(upgrade_state) of every node of the engine. A node that is no longer in the play counts as failed.
positional: _input, hostvars, active, steps
extends_documentation_fragment: [hardened.vllm.play]
options:
  _input:
    description: The step, one of those of P(hardened.vllm.rollout#filter).
    type: dict
    required: true
  steps:
    description: All steps of the change.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Judge the engine over all its nodes
  ansible.builtin.set_fact:
    verdict: "{{ step | hardened.vllm.rollout_verdict(hostvars, ansible_play_batch, rollout.steps) }}"
"""

RETURN = r"""
_value:
  description: C(serves), whether it may have requests again, and C(message), empty when the step succeeded.
  type: dict
"""


def _rollout_verdict(step: Any, hostvars: Any, active: Any, steps: Any) -> dict[str, Any]:
    if not isinstance(step, Mapping) or not isinstance(hostvars, Mapping):
        raise AnsibleFilterError("hardened.vllm.rollout_verdict: expected a step and the variable hostvars")
    states = {node: hostvars[node].get("upgrade_state") if node in active else None for node in step["members"]}
    return dict(rollout.verdict(step["engine"], states, [other["engine"] for other in steps]))


class FilterModule:
    """Offers the filter to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by name."""
        return {"rollout_verdict": _rollout_verdict}
