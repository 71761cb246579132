# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: systemd_devices
short_description: Write device names as values of DeviceAllow= of a systemd unit
version_added: "0.1.0"
author:
  - hardened.vllm maintainers (@hardened-vllm)
description:
  - Refuses what systemd would accept and then never match, such as a pattern over device paths.
positional: _input
options:
  _input:
    description: Device nodes (C(/dev/kfd)) or classes (C(char-nvidia*), named as in C(/proc/devices)).
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Show the rules for NVIDIA devices
  ansible.builtin.debug:
    msg: "{{ ['char-nvidia*'] | hardened.vllm.systemd_devices }}"
"""

RETURN = r"""
_value:
  description: One value of DeviceAllow= per device.
  type: list
  elements: str
  sample: ["char-nvidia* rw"]
"""

from ansible.errors import AnsibleFilterError
from ansible_collections.hardened.vllm.plugins.plugin_utils import systemd


def systemd_devices(devices):
    """Devices to values of DeviceAllow=."""
    if not isinstance(devices, (list, tuple)) or not all(isinstance(device, str) for device in devices):
        raise AnsibleFilterError(f"hardened.vllm.systemd_devices: expected a list of texts, found {devices!r}")
    try:
        return systemd.device_rules(devices)
    except ValueError as problem:
        raise AnsibleFilterError(f"hardened.vllm.systemd_devices: {problem}") from problem


class FilterModule:
    def filters(self):
        return {"systemd_devices": systemd_devices}
