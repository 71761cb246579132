# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: engine_verdict
short_description: Judge all nodes of one engine together
version_added: "0.1.0"
author:
  - hardened.vllm maintainers (@hardened-vllm)
description:
  - Reads the registered result of one task on every node of an engine and says how the engine as a whole stands.
  - A node that is no longer in the play counts as failed.
  - Meant for the strategy C(linear), where all nodes have run the task before the next one is evaluated.
positional: _input, hostvars, active, register
extends_documentation_fragment: [hardened.vllm.play]
options:
  _input:
    description: Names of the nodes of the engine in the inventory.
    type: list
    elements: str
    required: true
  register:
    description:
      - Name under which the result of M(hardened.vllm.engine_generation) or M(hardened.vllm.engine_ready) was
        registered.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: See whether every node of the engine took the new files
  ansible.builtin.set_fact:
    verdict: "{{ ['node1', 'node2'] | hardened.vllm.engine_verdict(hostvars, ansible_play_batch, 'staged') }}"
"""

RETURN = r"""
_value:
  description:
    - C(progress) is V(ready), V(waiting) or V(failed), the worst of the nodes.
    - C(restart) says that some node has something new, C(startable) that every node has a unit to go back to.
    - C(message) names the nodes that are not ready, with their reasons and the end of their journals.
  type: dict
  sample: {"progress": "ready", "restart": false, "startable": false, "message": ""}
"""

from collections.abc import Mapping

from ansible.errors import AnsibleFilterError
from ansible_collections.hardened.vllm.plugins.plugin_utils import engine


def engine_verdict(nodes, hostvars, active, register):
    """Names of an engine's nodes to how it stands as a whole."""
    if not isinstance(nodes, (list, tuple)) or not isinstance(hostvars, Mapping):
        raise AnsibleFilterError("hardened.vllm.engine_verdict: expected a list of nodes and the variable hostvars")
    results = {node: hostvars[node].get(register) if node in active and node in hostvars else None for node in nodes}
    try:
        return dict(engine.judge(results))
    except ValueError as problem:
        raise AnsibleFilterError(f"hardened.vllm.engine_verdict: {problem}") from problem


class FilterModule:
    def filters(self):
        return {"engine_verdict": engine_verdict}
