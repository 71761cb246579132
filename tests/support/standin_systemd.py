# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A systemd-run that notes its words and runs the unit's program at once, for machines whose first process is no systemd."""

from __future__ import annotations

from pathlib import Path

# A network of its own takes the place of the kernel's filter, of which the unit's program asks for a proof.
NO_NETWORK = 'exec unshare --net "$@"'
# Without a filter: what follows the six words of the proof.
AS_IT_IS = 'shift 6; exec "$@"'
UNFILTERED = 'exec "$@"'
SCRIPT = """#!/bin/sh
printf '%s\\n' "$@" > {notes}
while [ "$1" != -- ]; do shift; done
shift
{ending}
"""


def write(folder: Path, ending: str) -> Path:
    """Write systemd-run and systemctl into ``folder`` and return the file the words are noted in."""
    notes = folder / "systemd-run.words"
    for name, text in (("systemd-run", SCRIPT.format(notes=notes, ending=ending)), ("systemctl", "#!/bin/sh\n")):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return notes
