# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options of filters that read what the hosts of a play have in common."""

from __future__ import annotations


class ModuleDocFragment:
    """Options C(hostvars) and C(active)."""

    DOCUMENTATION = r"""
options:
  hostvars:
    description: The variable C(hostvars).
    type: dict
    required: true
  active:
    description: The hosts that are still in the play, from C(ansible_play_batch).
    type: list
    elements: str
    required: true
"""
