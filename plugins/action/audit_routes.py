# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action of M(hardened.vllm.audit_routes)."""

from __future__ import annotations

from ansible_collections.hardened.vllm.plugins.action.audit_host import ActionModule

__all__ = ["ActionModule"]
