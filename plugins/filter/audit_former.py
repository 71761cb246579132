# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter hardened.vllm.audit_former."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.asked import former
from ansible_collections.hardened.vllm.plugins.plugin_utils.filter_support import answered

DOCUMENTATION = r"""
name: audit_former
short_description: Read the JSON report of a former audit
version_added: 0.1.0
author: hardened.vllm maintainers (@hardened-vllm)
description:
  - Fails where it is none, is damaged, or is of another format than this release compares with.
positional: _input
options:
  _input:
    description: The text of the report.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show when the former audit was
  ansible.builtin.debug:
    msg: "{{ (lookup('ansible.builtin.file', 'reports/report.json') | hardened.vllm.audit_former).taken }}"
"""

RETURN = r"""
_value:
  description: The result, for the option C(previous) of P(hardened.vllm.audit_judge#filter).
  type: dict
"""


def _audit_former(text: Any) -> dict[str, Any]:
    return answered("audit_former", former, str(text))


class FilterModule:
    """Offers the filter to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by name."""
        return {"audit_former": _audit_former}
