# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removes the host's firewall and puts back what was before it."""

from __future__ import annotations

import os
import shutil

from ansible_collections.hardened.vllm.plugins.module_utils import (
    commands,
    files,
    firewall_kernel,
    firewall_sysctl,
    firewall_words,
)
from ansible_collections.hardened.vllm.plugins.module_utils.firewall_host import DROP_IN, FAILURES, Host, make_directory


class Removal(Host):
    """Everything of ours goes, nothing else."""

    def absent(self, check_mode):
        """Remove the table, files, unit and state; put recorded kernel settings back."""
        with self._lock(check_mode):
            open_change = self.way.open_change()
            if open_change and not check_mode:
                self.way.take_back()
            before_values = self._json(self.before_path)
            applied = self._json(self.applied_path)
            paths = [self.rules_path, self.unit_path, self.sysctl_path, *self._links_and_drop_ins()]
            found = [path for path in paths if files.read_state(path).kind != files.ABSENT]
            reasons = ["%s is there" % path for path in found]
            in_kernel = self.nft is not None and firewall_kernel.present(self.nft)
            if in_kernel:
                reasons.append("the table is in the kernel")
            if os.path.isdir(self.state):
                reasons.append("%s is there" % self.state)
            old = firewall_words.words(applied.get("policy"), applied.get("sysctl", {}))
            result = {
                "changed": bool(reasons),
                "reasons": reasons,
                "pending": False,
                "changes": firewall_words.changes(old, []),
                "diff": {
                    "before_header": "who may reach this host",
                    "after_header": "who may reach this host (no table of ours)",
                    "before": "".join(line + "\n" for line in old + reasons),
                    "after": "",
                },
            }
            if reasons and not check_mode:
                self._remove(paths, before_values, in_kernel)
            return result

    def _remove(self, paths, before_values, in_kernel):
        make_directory(self.state, 0o700)
        now = {name: firewall_sysctl.read(name) for name in before_values}
        self.way.prepare(
            firewall_kernel.dump(self.nft) if in_kernel else "", paths, now, {"connection": None, "grace_seconds": 0}
        )
        try:
            if os.path.exists(self.unit_path):
                commands.run(["systemctl", "stop", self.unit_name], timeout=120)
            for path in paths:
                files.become(path, files.State(files.ABSENT))
            commands.run(["systemctl", "daemon-reload"], timeout=60)
            for name in before_values:
                firewall_sysctl.write(name, before_values[name])
            if in_kernel:
                self._load(firewall_kernel.NO_TABLE)
        except FAILURES as error:
            self._undo(error)
        self.way.confirm()
        self._forget(paths)

    def _forget(self, paths):
        shutil.rmtree(self.state)
        for path in (self.state, *(name for name in paths if name.endswith(DROP_IN)), self.rules_path):
            try:
                os.rmdir(os.path.dirname(path))
            except OSError:  # others keep files there
                continue
