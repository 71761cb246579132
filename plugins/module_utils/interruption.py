# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Turns signals that end a process into ordinary failures, so that what was begun is taken back."""

from __future__ import annotations

import signal

SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def raise_on_signals(problem):
    """Raise ``problem`` (an exception class taking a text) at the first signal; later ones are ignored."""

    def interrupted(number, _frame):
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise problem("stopped by signal %d" % number)

    for each in SIGNALS:
        signal.signal(each, interrupted)
