# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster as it is meant to be: nothing is found, and what was looked at is said."""

from __future__ import annotations

from audit.support import Audit, told


def test_nothing_is_found_on_the_clean_cluster(clean: Audit) -> None:
    findings = clean.findings()
    assert findings == [], told(findings)
