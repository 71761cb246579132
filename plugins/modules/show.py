#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of the action hardened.vllm.show."""

from __future__ import annotations

DOCUMENTATION = r"""
module: show
short_description: Print a text as it is
version_added: "0.1.0"
author:
  - hardened.vllm maintainers (@hardened-vllm)
description:
  - Prints a text line by line, each from the first column, where M(ansible.builtin.debug) prints it as JSON. Programs
    that read the output, such as the workflows of GitHub, take lines only so.
  - Runs on the controller alone and changes nothing.
options:
  text:
    description: What to print.
    type: str
    required: true
attributes:
  check_mode:
    description: Prints in check mode too.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
"""

EXAMPLES = r"""
- name: Show the findings as annotations
  hardened.vllm.show:
    text: "{{ lookup('hardened.vllm.lint', 'deploy') | hardened.vllm.lint_report('github') }}"
"""

RETURN = r"""
lines:
  description: How many lines were printed.
  returned: always
  type: int
  sample: 12
"""
