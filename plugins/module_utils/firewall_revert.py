# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way back: what a change replaced is kept on the host until a fresh login confirms the change.

State directory: `pending/` (files of before plus the script revert.sh) exists from before the change until it is
confirmed or taken back. Whoever renames it first, the timer (to `reverting/`) or the confirmation (to `confirmed/`),
has decided. `reverted` tells the next run that a change was taken back.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import time

from ansible_collections.hardened.vllm.plugins.module_utils import commands, files
from ansible_collections.hardened.vllm.plugins.module_utils.firewall_common import FirewallProblem

TIMER = "hardened-vllm-firewall-revert"
SCRIPT = """#!/bin/sh
# Takes back a firewall change that nobody confirmed. Written by hardened.vllm.firewall.
# With the argument "boot" it runs before the network is up.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
state=%(state)s
if [ ! -d "$state/reverting" ]; then
    mv -T "$state/pending" "$state/reverting" 2>/dev/null || exit 0
fi
cd "$state/reverting" || exit 1
failed=0
put() {
    if [ -e "$1" ] || [ -L "$1" ]; then
        cp -dp "$1" "$2.hardened-vllm-revert" && mv -fT "$2.hardened-vllm-revert" "$2" || failed=1
    else
        rm -f "$2" || failed=1
    fi
}
%(nft)s -f kernel.nft || failed=1
%(steps)s
if [ "${1:-}" != boot ]; then
    systemctl daemon-reload || failed=1
fi
if [ "$failed" = 0 ]; then
    date -u +%%Y-%%m-%%dT%%H:%%M:%%SZ > "$state/reverted"
    rm -rf "$state/reverting"
    message="the firewall change was not confirmed by a fresh login, the rules of before are back"
else
    message="taking the firewall change back failed in part, see $state/reverting"
fi
logger -t hardened-vllm-firewall "$message" || echo "$message" >&2
exit "$failed"
"""


class WayBack:
    """One host's way back. `state` is the state directory, `nft` the program's path."""

    def __init__(self, state, nft):
        self.state = state
        self.nft = nft

    def _path(self, *names):
        return os.path.join(self.state, *names)

    def open_change(self):
        """Name of the directory of a change neither confirmed nor wholly taken back, None when there is none."""
        for name in ("reverting", "pending"):
            if os.path.isdir(self._path(name)):
                return name
        return None

    def prepare(self, kernel_text, paths, sysctl, about):
        """Keep what is now: the table as text, the files at `paths`, {setting: value}.

        `about` is JSON for the confirmation.
        """
        folder = self._path("preparing")
        shutil.rmtree(folder, ignore_errors=True)
        files.become(folder, files.State(files.DIRECTORY, None, 0o700))
        steps = []
        for index, path in enumerate(paths):
            state = files.read_state(path)
            if state.kind != files.ABSENT:
                files.write(os.path.join(folder, "file%d" % index), state)
            steps.append("put file%d %s" % (index, shlex.quote(path)))
        for name in sorted(sysctl):
            steps.append(
                "printf '%%s\\n' %s > %s || failed=1"
                % (shlex.quote(sysctl[name]), shlex.quote("/proc/sys/" + name.replace(".", "/")))
            )
        script = SCRIPT % {"state": shlex.quote(self.state), "nft": shlex.quote(self.nft), "steps": "\n".join(steps)}
        for name, text in (("kernel.nft", kernel_text), ("revert.sh", script), ("about.json", json.dumps(about))):
            files.write(os.path.join(folder, name), files.State(files.FILE, text.encode("utf-8"), 0o600))
        os.rename(folder, self._path("pending"))

    def arm(self, seconds):
        """Start the timer that takes the change back after `seconds`; it belongs to systemd, not to this run."""
        self.disarm()
        commands.run(
            [
                "systemd-run",
                "--quiet",
                "--collect",
                "--unit=" + TIMER,
                "--description=Take back an unconfirmed firewall change of hardened.vllm",
                "--on-active=%d" % seconds,
                "--timer-property=AccuracySec=100ms",
                "--timer-property=RemainAfterElapse=no",
                "--property=Type=oneshot",
                "--",
                "/bin/sh",
                self._path("pending", "revert.sh"),
            ],
            timeout=30,
        )

    def disarm(self):
        """Stop the timer; fine when there is none."""
        for argv in (
            ["systemctl", "stop", TIMER + ".timer"],
            ["systemctl", "reset-failed", TIMER + ".timer", TIMER + ".service"],
        ):
            try:
                commands.run(argv, timeout=30)
            except commands.CommandError as error:
                if "not loaded" not in str(error):
                    raise

    def take_back(self):
        """Go back now (a change was left open, or failed half-way); FirewallProblem when that fails."""
        name = self.open_change()
        if name is None:
            return
        self.disarm()
        try:
            commands.run(["/bin/sh", self._path(name, "revert.sh")], timeout=120)
        except commands.CommandError as error:
            raise FirewallProblem(
                "taking the change back failed, the host needs a look at %s. %s" % (self.state, error)
            ) from None

    def about(self):
        """Return what `prepare` was told about the open change."""
        with open(self._path("pending", "about.json"), encoding="utf-8") as handle:
            return json.load(handle)

    def confirm(self):
        """Make the open change stay. False when it was taken back meanwhile."""
        shutil.rmtree(self._path("confirmed"), ignore_errors=True)
        try:
            os.rename(self._path("pending"), self._path("confirmed"))
        except FileNotFoundError:
            return False
        self.disarm()
        shutil.rmtree(self._path("confirmed"))
        return True

    def wait_until_taken_back(self, seconds=30):
        """Wait for a running take-back to end."""
        deadline = time.monotonic() + seconds
        while os.path.isdir(self._path("reverting")) and time.monotonic() < deadline:
            time.sleep(0.2)

    def taken_back_at(self, forget=False):
        """When the timer took a change back (ISO 8601, UTC), None when it did not; `forget` removes the note."""
        path = self._path("reverted")
        try:
            with open(path, encoding="ascii") as handle:
                moment = handle.read().strip()
        except FileNotFoundError:
            return None
        if forget:
            os.unlink(path)
        return moment
