# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lookup hardened.vllm.lint."""

from __future__ import annotations

DOCUMENTATION = r"""
name: lint
short_description: Lint files on the controller that start vLLM
version_added: 0.1.0
author: hardened.vllm maintainers (@hardened-vllm)
description:
  - Reads files, and below folders every file whose name tells that it may start vLLM, and lints them together.
  - A unit is read with its drop-ins, a file with the files of variables and options it names, Kubernetes objects of one
    folder with each other.
  - Files outside the given paths are not opened, whatever an artefact names.
  - A file that cannot be read (binary, larger than 2 MiB, no UTF-8, YAML that nests or expands beyond reason) gives
    one finding and the rest go on.
options:
  _terms:
    description: Files and folders, relative to the current folder.
    type: list
    elements: str
    required: true
  release:
    description: The release of vLLM to judge by where a file names none. The newest known one when it is left out.
    type: str
"""

EXAMPLES = r"""
- name: Lint what is in two folders
  ansible.builtin.debug:
    msg: "{{ lookup('hardened.vllm.lint', 'deploy', 'units') | hardened.vllm.lint_report }}"
"""

RETURN = r"""
_raw:
  description: One dictionary.
  type: list
  elements: dict
  contains:
    findings:
      description: The findings, as P(hardened.vllm.lint#filter) returns them.
      type: list
      elements: dict
    read:
      description: The files that start vLLM or configure it.
      type: list
      elements: str
    skipped:
      description: The files that do not.
      type: list
      elements: str
"""


from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.hardened.vllm.plugins.plugin_utils.linting.asked import InvalidQuestionError, lint_files


class LookupModule(LookupBase):
    """Offers the lookup to Ansible."""

    def run(self, terms: Any, variables: Any = None, **kwargs: Any) -> list[dict[str, Any]]:
        """Return the findings in the files ``terms`` name, in a list of one."""
        self.set_options(var_options=variables, direct=kwargs)
        try:
            return [lint_files(list(terms), self.get_option("release"))]
        except InvalidQuestionError as error:
            raise AnsibleLookupError(f"hardened.vllm.lint: {error}") from error
