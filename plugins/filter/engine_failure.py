# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: engine_failure
short_description: Say what failed on an engine and what serves now
version_added: "0.1.0"
author:
  - hardened.vllm maintainers (@hardened-vllm)
description:
  - Makes the message a run ends with when an engine could not be brought into its declared state.
positional: _input, name
options:
  _input:
    description: What failed, the C(message) of P(hardened.vllm.engine_verdict#filter).
    type: str
    required: true
  name:
    description: Name of the engine.
    type: str
    required: true
  restarted:
    description: The nodes had been stopped for the new state.
    type: bool
    default: false
  restored:
    description: The verdict on putting the former files back, none when there was nothing to put back.
    type: dict
  again:
    description: The verdict on starting the former state, none when that was not tried.
    type: dict
"""

EXAMPLES = r"""
- name: End the run
  ansible.builtin.fail:
    msg: "{{ verdict.message | hardened.vllm.engine_failure('chat', restarted=false) }}"
"""

RETURN = r"""
_value:
  description: The message, several lines.
  type: str
"""

from ansible.errors import AnsibleFilterError
from ansible_collections.hardened.vllm.plugins.plugin_utils import engine


def engine_failure(failure, name, restarted=False, restored=None, again=None):
    """Verdicts on a failed change to the message for the user."""
    if not isinstance(failure, str) or not isinstance(name, str):
        raise AnsibleFilterError("hardened.vllm.engine_failure: expected two texts, a failure and a name")
    return engine.explain_failure(name, failure, restarted=bool(restarted), restored=restored, again=again)


class FilterModule:
    def filters(self):
        return {"engine_failure": engine_failure}
