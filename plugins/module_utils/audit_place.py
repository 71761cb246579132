# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The place from which a module looks at other hosts: its options, and the head of its evidence."""

from __future__ import annotations

import time

from ansible_collections.hardened.vllm.plugins.module_utils.audit_processes import moment

FORMAT = 1
# doc_fragments/audit.py describes them.
PLACE = {
    "observer": {"type": "str", "required": True},
    "standing": {
        "type": "str",
        "choices": ["observer", "stranger", "peer", "gateway", "monitor", "controller"],
        "default": "observer",
    },
}


def document(kind, params, started, **facts):
    """Return an evidence document of ``kind`` from the place in ``params``; ``started`` in seconds since the epoch."""
    return {
        "format": FORMAT,
        "kind": kind,
        "observer": params["observer"],
        "standing": params["standing"],
        "taken": moment(started),
        "seconds": round(time.time() - started, 2),
        **facts,
    }
