# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter hardened.vllm.audit_report."""

from __future__ import annotations

DOCUMENTATION = r"""
name: audit_report
short_description: Write the result of an audit in the form a person or a program reads
version_added: 0.1.0
author: hardened.vllm maintainers (@hardened-vllm)
description:
  - Takes what P(hardened.vllm.audit_judge#filter) returned.
positional: _input
options:
  _input:
    description: The result. With O(format=digests) a dictionary of texts by the names of their files.
    type: dict
    required: true
  format:
    description: >-
      The form of the report. V(html) is one page that needs nothing else, V(sarif) is SARIF 2.1.0, V(digests) the list of SHA-256
      digests C(sha256sum --check) reads.
    type: str
    choices: [html, json, sarif, junit, text, digests]
    default: text
"""

EXAMPLES = r"""
- name: Keep the page
  ansible.builtin.copy:
    dest: audit.html
    content: "{{ audit_evidence | hardened.vllm.audit_judge | hardened.vllm.audit_report('html') }}"
    mode: "0644"
"""

RETURN = r"""
_value:
  description: The report, which ends with a line break.
  type: str
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.asked import reported
from ansible_collections.hardened.vllm.plugins.plugin_utils.filter_support import answered, need_mapping

_NAME = "audit_report"


def _audit_report(given: Any, format: str = "text") -> str:
    need_mapping(given, "the input", _NAME)
    return answered(_NAME, reported, given, format)


class FilterModule:
    """Offers the filter to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by name."""
        return {_NAME: _audit_report}
