# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An engine's unit that podman's generator makes from a Quadlet (podman-systemd.unit(5)), beside or in place of a plain unit."""

from __future__ import annotations

import os
import re

from ansible_collections.hardened.vllm.plugins.module_utils import commands, engine_unit, files

QUADLETS = "/etc/containers/systemd"
PODMAN = "/usr/bin/podman"
SERVICE = ".service"
CONTAINER = ".container"
# Reads all Quadlets of the host and says on which it cannot.
CHECK = ["/usr/lib/systemd/system-generators/podman-system-generator", "--dryrun"]
_NUMBER = re.compile(r"@(uid|gid):([a-z_][a-z0-9_-]*)@")


def quadlet(unit):
    """Return where the Quadlet lies that becomes the unit ``unit``."""
    return os.path.join(QUADLETS, unit.removesuffix(SERVICE) + CONTAINER)


def unit(path):
    """Return the name of the unit that the Quadlet at ``path`` becomes."""
    return os.path.basename(path).removesuffix(CONTAINER) + SERVICE


def numbered(content, lenient):
    """Return ``content`` with ``@uid:NAME@`` and ``@gid:NAME@`` as numbers, which an image has no names for.

    ``lenient`` (check mode) leaves what an earlier task would have made. Raises FileProblem for an unknown name.
    """

    def number(match):
        try:
            return str((files.uid_of if match[1] == "uid" else files.gid_of)(match[2]))
        except files.FileProblem:
            if lenient:
                return match[0]
            raise

    return _NUMBER.sub(number, content)


def expect_generated(unit):
    """Raise CommandError unless systemd has the unit that podman's generator makes of its Quadlet."""
    found = engine_unit.show(unit)
    if found.load != "loaded":
        raise commands.CommandError(
            "%s: podman's generator made no unit of it (%s); see %s" % (quadlet(unit), found.load, " ".join(CHECK))
        )


def forget_container(unit):
    """Remove the container that a unit left which is no Quadlet's any more: nobody else would."""
    if os.path.exists(PODMAN):
        commands.run([PODMAN, "rm", "--force", "--ignore", unit.removesuffix(SERVICE)], 300)
