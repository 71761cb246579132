# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian starts squid as an open door on every address while it installs it; the role keeps it from that. Last, after the reset."""

from __future__ import annotations

from pathlib import Path

import pytest
from lab import runs
from lab.testing import Console

CONVERGE = Path(__file__).parents[1] / "converge.yml"
# The node reaches no mirror: the package is built again of what it installed (its manual was left out), with its own scripts.
REPACK = r"""
set -e
mkdir -p /opt/squid/DEBIAN
dpkg -L squid | while read -r path; do
    if [ -d "$path" ] && ! [ -L "$path" ]; then mkdir -p "/opt/squid$path"; elif [ -e "$path" ]; then cp -a "$path" "/opt/squid$path"; fi
done
dpkg-query --status squid | sed '/^Status:/d; /^Conffiles:/,$d' >/opt/squid/DEBIAN/control
dpkg-query --status squid | sed -n '/^Description:/,/^[A-Z]/{/^[A-Z]/!p; /^Description:/p}' >>/opt/squid/DEBIAN/control
for name in preinst postinst prerm postrm conffiles; do cp "/var/lib/dpkg/info/squid.$name" "/opt/squid/DEBIAN/$name"; done
dpkg-deb --build /opt/squid /opt/squid.deb
"""
TAKE_AWAY = "dpkg --purge squid && ! systemctl is-active squid.service"
LISTENS = "for _ in 1 2 3 4 5 6 7 8 9 10; do ss -Hltn 'sport = :3128' | grep -q . && break; sleep 0.5; done; ss -Hltn 'sport = :3128'"


@pytest.fixture(scope="module")
def without_squid(gateway: Console) -> Console:
    gateway.run("sh", "-c", REPACK)
    gateway.run("systemctl", "unmask", "squid.service")
    gateway.run("sh", "-c", TAKE_AWAY)
    return gateway


def test_the_package_alone_opens_a_proxy_on_every_address(without_squid: Console) -> None:
    without_squid.run("dpkg", "--install", "/opt/squid.deb")
    assert "*:3128" in without_squid.run("sh", "-c", LISTENS)
    without_squid.run("sh", "-c", TAKE_AWAY)


def test_the_role_keeps_it_shut(without_squid: Console, lab_name: str) -> None:
    done = runs.play(lab_name, CONVERGE)
    # Without a mirror the package cannot come; what guards its installation was done before.
    assert "Install what is missing" in done.text
    assert done.code != 0
    without_squid.run("dpkg", "--install", "/opt/squid.deb")
    assert without_squid.run("sh", "-c", LISTENS) == ""
    assert without_squid.start("systemctl", "is-enabled", "squid.service").stdout.strip() == "masked"
