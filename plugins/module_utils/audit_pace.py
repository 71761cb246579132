# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast requests go out: so many a second, and to a server that limits them, as it lets them through."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

# Seconds for which a server's own limit is kept to.
PATIENCE = 40.0


class Pace:
    """Lets threads through at so many a second at most."""

    def __init__(self, rate):
        self.gap = 1.0 / rate
        self.lock = threading.Lock()
        self.next = time.monotonic()

    def wait(self):
        """Return when it is this caller's turn."""
        with self.lock:
            now = time.monotonic()
            turn = max(now, self.next)
            self.next = turn + self.gap
        time.sleep(turn - now)


class Patience:
    """Lets through what a limit of so many a minute does: as many at once, then as they come back, until patience is over."""

    def __init__(self, pace, per_minute):
        self.pace = pace
        self.left = per_minute
        # A little below the limit: both ends count time on their own.
        self.gap = 60.0 / (0.95 * per_minute)
        self.next = time.monotonic()
        self.over = self.next + PATIENCE

    def wait(self):
        """Return when it is the caller's turn; of one source there is one caller."""
        self.left -= 1
        if self.left < 0 and self.next + self.gap < self.over:
            self.next = max(self.next + self.gap, time.monotonic())
            time.sleep(max(0.0, self.next - time.monotonic()))
        self.pace.wait()


def done(pool, pace, jobs, answer):
    """Return what ``answer(turn, job)`` says of each job: in a pool, those a server limits in their turn, and the last ones at last.

    A job is an endpoint, a name and a request.
    """
    told = [None] * len(jobs)

    def do(number, turn=pace):
        told[number] = answer(turn, jobs[number])

    streams = _slow_streams(jobs)
    slow = {number for numbers in streams for number in numbers}
    quick = [number for number in range(len(jobs)) if number not in slow]
    with ThreadPoolExecutor(max(1, len(streams))) as patient:
        running = [patient.submit(_in_turn, do, pace, jobs, numbers) for numbers in streams]
        list(pool.map(do, [number for number in quick if not jobs[number][2].get("last")]))
        for one in running:
            one.result()
    list(pool.map(do, [number for number in quick if jobs[number][2].get("last")]))
    return told


def _slow_streams(jobs):
    """Return the numbers of the jobs a server limits, those of one server and family together: there they come from one source."""
    streams = {}
    for number, (endpoint, _name, request) in enumerate(jobs):
        if request.get("per_minute"):
            streams.setdefault((endpoint["host"], ":" in endpoint["address"]), []).append(number)
    return list(streams.values())


def _in_turn(do, pace, jobs, numbers):
    """Do jobs one after the other, as slowly as the first of them asks for."""
    turn = Patience(pace, jobs[numbers[0]][2]["per_minute"])
    for number in numbers:
        do(number, turn)
