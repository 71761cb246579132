# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter hardened.vllm.lint."""

from __future__ import annotations

DOCUMENTATION = r"""
name: lint
short_description: Find dangerous settings in whatever starts vLLM
version_added: 0.1.0
author: hardened.vllm maintainers (@hardened-vllm)
description:
  - Reads a command line with its environment, or the text of a script, a file of variables, a systemd unit, a Quadlet,
    a docker-compose file, a Dockerfile, Kubernetes manifests, a file for C(--config) or a declaration, as vLLM would
    read it.
  - Runs nothing and opens no file. What cannot be resolved is said (rule V(unresolved), severity V(info)); a text that
    cannot be read gives one finding (rule V(unreadable)). Values of secrets are never shown.
  - The rules are described in C(docs/rules.md).
positional: _input
options:
  _input:
    description: >-
      A text; or a dictionary with C(argv) (the words after C(vllm), a list) and C(environment) (a dictionary), or with
      C(text) and, where they are known, C(kind) and C(path); or a list of these.
    type: raw
    required: true
  kind:
    description: What a text is. Found out from C(path) and from the text when it is left out.
    type: str
    choices: [command, compose, config, declaration, dockerfile, environment, kubernetes, quadlet, script, systemd]
  path:
    description: The path findings name, and from which the kind may be told.
    type: str
    default: ""
  release:
    description: The release of vLLM to judge by where the input names none. The newest known one when it is left out.
    type: str
  severity:
    description: Leave out findings below this severity.
    type: str
    choices: [error, warning, info]
    default: info
"""

EXAMPLES = r"""
- name: Refuse a dangerous command line
  ansible.builtin.assert:
    that: process | hardened.vllm.lint(severity='error') | length == 0
  vars:
    process:
      argv: [serve, /srv/models/example, --host, 10.20.1.11]
      environment:
        VLLM_MEDIA_URL_ALLOW_REDIRECTS: "0"

- name: Show what is wrong with a unit
  ansible.builtin.debug:
    msg: "{{ lookup('ansible.builtin.file', 'vllm.service') | hardened.vllm.lint(path='vllm.service') }}"
"""

RETURN = r"""
_value:
  description: The findings, sorted by path and line. Empty when there is none.
  type: list
  elements: dict
  contains:
    rule:
      description: Id of the rule.
      type: str
    severity:
      description: One of error, warning and info.
      type: str
    path:
      description: The path that was given, or of a file the finding is in.
      type: str
    line:
      description: The line, from 1. None where there is none.
      type: int
    place:
      description: Where in the artefact it is, for example C(services.vllm.argv.--host).
      type: str
    found:
      description: What was found, never a secret.
      type: str
    expected:
      description: What was expected, and why.
      type: str
    remedy:
      description: How to mend it.
      type: str
    message:
      description: All of it in one sentence.
      type: str
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.hardened.vllm.plugins.plugin_utils.linting.asked import InvalidQuestionError, lint_input


def _lint(
    given: Any, kind: str | None = None, path: str = "", release: str | None = None, severity: str = "info"
) -> list[dict[str, Any]]:
    if not isinstance(given, str | Mapping | list | tuple):
        raise AnsibleFilterError(
            f"hardened.vllm.lint: the input must be a text, a dictionary or a list, found {type(given).__name__}"
        )
    try:
        return [finding.as_dict() for finding in lint_input(given, kind, path, release, severity)]
    except InvalidQuestionError as error:
        raise AnsibleFilterError(f"hardened.vllm.lint: {error}") from error


class FilterModule:
    """Offers the filter to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by name."""
        return {"lint": _lint}
