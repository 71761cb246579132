# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action of M(hardened.vllm.audit_host)."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.receiving import printable, received


class ActionModule(ActionBase):
    """Runs the module of the audit and keeps of what the host returns the evidence alone."""

    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module of the task's name."""
        super().run(tmp, task_vars)
        wraps = bool(self._task.async_val) and not self._connection.has_native_async
        try:
            return received(self._execute_module(task_vars=task_vars, wrap_async=wraps))
        except AnsibleConnectionFailure as error:
            # What the far end of a connection says is in its text.
            raise AnsibleConnectionFailure(printable(str(error))) from None
        except AnsibleError as error:
            return received({"failed": True, "msg": str(error)})
