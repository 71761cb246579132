# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter hardened.vllm.lint_report."""

from __future__ import annotations

DOCUMENTATION = r"""
name: lint_report
short_description: Write findings of the linter in the form a person or a program reads
version_added: 0.1.0
author: hardened.vllm maintainers (@hardened-vllm)
description:
  - Takes what P(hardened.vllm.lint#filter) or P(hardened.vllm.lint#lookup) returned.
positional: _input
options:
  _input:
    description: A list of findings, or a dictionary with C(findings) and C(read), the files that were read.
    type: raw
    required: true
  format:
    description: The form of the report. V(sarif) is SARIF 2.1.0, V(github) are annotations of GitHub workflows.
    type: str
    choices: [text, json, sarif, junit, github]
    default: text
"""

EXAMPLES = r"""
- name: Keep the findings for a code scanning service
  ansible.builtin.copy:
    dest: findings.sarif
    content: "{{ lookup('hardened.vllm.lint', 'deploy') | hardened.vllm.lint_report('sarif') }}"
    mode: "0644"
"""

RETURN = r"""
_value:
  description: The report, which ends with a line break.
  type: str
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.hardened.vllm.plugins.plugin_utils.linting.asked import InvalidQuestionError, report


def _lint_report(given: Any, format: str = "text") -> str:
    if not isinstance(given, Mapping | list | tuple):
        raise AnsibleFilterError(
            f"hardened.vllm.lint_report: the input must be a list or a dictionary, found {type(given).__name__}"
        )
    try:
        return report(given, format)
    except InvalidQuestionError as error:
        raise AnsibleFilterError(f"hardened.vllm.lint_report: {error}") from error


class FilterModule:
    """Offers the filter to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by name."""
        return {"lint_report": _lint_report}
