# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the modules and filters of an audit have in common."""

from __future__ import annotations


class ModuleDocFragment:
    """Attributes of modules that only look, the place a module looks from, and what questions are made of."""

    DOCUMENTATION = r"""
attributes:
  check_mode:
    support: full
    description: Runs the same in check mode, it only looks.
  diff_mode:
    support: none
    description: Changes nothing, so there is nothing to show.
"""

    PLACE = r"""
options:
  observer:
    description: Name of this host in the inventory, for the evidence.
    type: str
    required: true
  standing:
    description: What this host is to those it looks at.
    type: str
    choices: [observer, stranger, peer, gateway, monitor, controller]
    default: observer
"""

    QUESTIONS = r"""
options:
  _input:
    description: Evidence of the hosts by inventory name, each as M(hardened.vllm.audit_host) returns it.
    type: dict
    required: true
  place:
    description: Inventory name of the place that looks.
    type: str
    required: true
  plans:
    description: Plans by cluster.
    type: dict
    default: {}
"""
