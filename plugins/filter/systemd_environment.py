# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: systemd_environment
short_description: Write variables as an EnvironmentFile= of a systemd unit
version_added: "0.1.0"
author:
  - hardened.vllm maintainers (@hardened-vllm)
description:
  - Gives one line per variable, sorted by name and quoted so that the program finds exactly the given values.
positional: _input
options:
  _input:
    description: Values by variable name.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Write an environment file
  ansible.builtin.debug:
    msg: "{{ {'NCCL_SOCKET_IFNAME': '=eth0', 'VLLM_PLUGINS': ''} | hardened.vllm.systemd_environment }}"
"""

RETURN = r"""
_value:
  description: The text of the file.
  type: str
  sample: "NCCL_SOCKET_IFNAME=\"=eth0\"\nVLLM_PLUGINS=\"\"\n"
"""

from collections.abc import Mapping

from ansible.errors import AnsibleFilterError
from ansible_collections.hardened.vllm.plugins.plugin_utils import systemd


def systemd_environment(environment):
    """Variables by name to the text of an environment file."""
    if not isinstance(environment, Mapping):
        raise AnsibleFilterError(f"hardened.vllm.systemd_environment: expected a dictionary, found {environment!r}")
    wrong = sorted(str(name) for name, value in environment.items() if not isinstance(value, str))
    if wrong:
        raise AnsibleFilterError(
            f"hardened.vllm.systemd_environment: the values of {', '.join(wrong)} are no texts; quote them"
        )
    try:
        return systemd.environment_file(environment)
    except ValueError as problem:
        raise AnsibleFilterError(f"hardened.vllm.systemd_environment: {problem}") from problem


class FilterModule:
    def filters(self):
        return {"systemd_environment": systemd_environment}
