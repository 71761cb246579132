# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The firewall of a host as it is: where its parts lie, what is there, and the way back from a change."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import re

from ansible_collections.hardened.vllm.plugins.module_utils import commands, files, firewall_kernel
from ansible_collections.hardened.vllm.plugins.module_utils.firewall_common import FirewallProblem
from ansible_collections.hardened.vllm.plugins.module_utils.firewall_revert import WayBack

SYSTEMD = "/etc/systemd/system"
DROP_IN = "50-hardened-vllm-firewall.conf"
FAILURES = (FirewallProblem, commands.CommandError, files.FileProblem, OSError)


def same(now, wanted):
    """Whether a path is as wanted; the times of files and the owners of links do not count."""
    keys = ("kind", "content", "mode", "uid", "gid") if wanted.kind == files.FILE else ("kind", "content")
    return all(getattr(now, key) == getattr(wanted, key) for key in keys)


def file_state(text, mode):
    """Return a file of root with this text."""
    return files.State(files.FILE, text.encode("utf-8"), mode)


def make_directory(path, mode):
    """Make a directory and its parents, whatever the umask; one that is there stays as it is."""
    if not os.path.isdir(path):
        make_directory(os.path.dirname(path), mode)
        files.become(path, files.State(files.DIRECTORY, None, mode))


class Host:
    """Where the parts lie: absolute paths, and the name of the systemd unit."""

    def __init__(self, rules_path, sysctl_path, unit_name, state_path):
        self.rules_path = rules_path
        self.sysctl_path = sysctl_path
        self.unit_name = unit_name
        self.unit_path = os.path.join(SYSTEMD, unit_name)
        self.state = state_path
        self.applied_path = os.path.join(state_path, "applied.json")
        self.before_path = os.path.join(state_path, "sysctl-before.json")
        self.nft = firewall_kernel.find_nft()
        self.way = WayBack(state_path, self.nft or "nft")

    def _json(self, path):
        state = files.read_state(path)
        if state.kind == files.ABSENT:
            return {}
        try:
            return json.loads((state.content or b"").decode("utf-8"))
        except ValueError:
            raise FirewallProblem(
                "%s: found something that is not JSON; remove the file and run again" % path
            ) from None

    def _links(self, unit):
        names = [name for line in re.findall(r"(?m)^WantedBy=(.*)$", unit) for name in line.split()]
        return [os.path.join(SYSTEMD, name + ".wants", self.unit_name) for name in names]

    def _drop_in(self, unit):
        if not re.fullmatch(r"[A-Za-z0-9:_.@-]+\.(service|socket|target|timer)", unit):
            raise FirewallProblem(
                "drop_ins: found %s, expected the name of a unit such as nftables.service." % ascii(unit)
            )
        return os.path.join(SYSTEMD, unit + ".d", DROP_IN)

    def _links_and_drop_ins(self):
        """Return what of ours lies in the directories of other units."""
        links = glob.glob("%s/*.wants/%s" % (SYSTEMD, glob.escape(self.unit_name)))
        return sorted(links + glob.glob("%s/*.d/%s" % (SYSTEMD, DROP_IN)))

    @contextlib.contextmanager
    def _lock(self, check_mode):
        if check_mode:
            yield
            return
        with files.exclusive():
            yield

    def _active(self):
        return (
            commands.run(["systemctl", "show", "--property=ActiveState", "--value", self.unit_name]).strip() == "active"
        )

    def _candidate(self, text):
        """Path of a file with the text, for nft to read."""
        make_directory(self.state, 0o700)
        candidate = os.path.join(self.state, "candidate.nft")
        files.write(candidate, file_state(text, 0o600))
        return candidate

    def _load(self, text):
        """Load the text, which touches nothing but our table, in one transaction."""
        candidate = self._candidate(text)
        firewall_kernel.load(self.nft, candidate)
        os.unlink(candidate)

    def _undo(self, error):
        """Go back after a failure and raise it, saying what became of the host."""
        try:
            self.way.take_back()
            self.way.taken_back_at(forget=True)
        except FAILURES as second:
            raise FirewallProblem("%s\nThe old state could not be put back wholly: %s" % (error, second)) from None
        raise FirewallProblem("%s\nThe old rules, files and kernel settings are back." % error) from None
