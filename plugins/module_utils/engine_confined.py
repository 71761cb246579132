# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs what fetches in a unit of its own that may call the declared destinations only; they close when the unit ends.

systemd drops the unit's packets to and from everybody else (``IPAddressDeny=``, systemd.resource-control(5)). That needs the
unified control group hierarchy and is silently left out without it, so the unit proves it before it starts the program. Where
nobody may be called the unit has no network but a loopback of its own (``PrivateNetwork=``), which needs no such hierarchy.
"""

from __future__ import annotations

import contextlib
import os
import socket

from ansible_collections.hardened.vllm.plugins.module_utils import commands

# The name server of systemd-resolved, which the host itself asks for names.
RESOLVED = "127.0.0.53/32"
NOT_CONFINED = 78
NO_DENY = (
    "this host does not hold %s back to the declared destinations of purpose %s: systemd's IPAddressDeny= has no "
    "effect, it needs the unified control group hierarchy (v2). Nothing was fetched. Boot with it, %s, "
    "or declare no destination of that purpose."
)
NO_PRIVATE = (
    "this host gives the installer no network of its own, so what is brought as wheels or as an image could call anybody: "
    "systemd's PrivateNetwork= has no effect. Nothing was fetched. Allow network namespaces on this host (the kernel's "
    "CONFIG_NET_NS; in a container, the right to make them), or declare what it may call in vllm_cluster.egress, with purpose install."
)
# Only what such a program reads; a value may hold credentials and goes by a file that root alone reads.
PASSED = ("HOME", "PATH", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
# Ends with NOT_CONFINED where a packet to nobody's address gets through.
PROVE = """
import os, socket, sys
try:
    socket.create_connection(("127.0.0.1", int(sys.argv[1])), 2).close()
except OSError:
    os.execv(sys.argv[2], sys.argv[2:])
sys.exit(78)
"""


# By purpose of a destination: what is held back, and how to do without it.
HELD = {
    "install": (
        "the installer",
        "bring wheels (install.find_links, install.bundle) or an image (install.image_archive)",
    ),
    "model": ("what fetches the model", "bring the model yourself (model.path)"),
}


def run(argv, destinations, timeout, scratch, purpose="install", properties=(), python=None):
    """Run ``argv`` (an absolute path and its words) and return its standard output (str).

    ``destinations`` are the blocks of ``purpose`` it may exchange packets with (none: no network at all), ``timeout`` is in seconds,
    ``scratch`` a directory only root reads, ``properties`` are further settings of the unit, ``python`` an interpreter where
    ``argv`` starts none. Raises commands.CommandError, also when this host does not hold the program back.
    """
    settings = os.path.join(scratch, "confined.env")
    with open(settings, "w", encoding="utf-8") as handle:
        handle.write(environment(os.environ))
    unit = "hardened-vllm-%s-%d.service" % (purpose, os.getpid())
    properties = [*properties, "EnvironmentFile=%s" % settings, "NoNewPrivileges=yes", "UMask=0022"]
    properties += ["RuntimeMaxSec=%d" % max(1, int(timeout))]
    if destinations:
        properties += ["IPAddressDeny=any", *("IPAddressAllow=%s" % block for block in [*destinations, RESOLVED])]
    else:
        properties.append("PrivateNetwork=yes")
    start = ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", "--unit=%s" % unit]
    start += ["--property=%s" % text for text in properties]
    with socket.create_server(("127.0.0.1", 0)) as canary:
        prove = [python or argv[0], "-I", "-c", PROVE, str(canary.getsockname()[1])]
        try:
            return commands.run([*start, "--", *prove, *argv], timeout + 5)
        except commands.CommandError as error:
            if "ended with status %d" % NOT_CONFINED in str(error):
                denied = NO_DENY % (HELD[purpose][0], purpose, HELD[purpose][1])
                raise commands.CommandError(denied if destinations else NO_PRIVATE) from None
            raise
        finally:
            # After an interruption the unit would go on; one that has ended is gone, which is as good.
            with contextlib.suppress(commands.CommandError):
                commands.run(["systemctl", "stop", unit], 60)


def environment(variables):
    """Return what the program gets of ``variables`` as the text of an EnvironmentFile= (systemd.exec(5))."""
    kept = {
        name: value
        for name, value in variables.items()
        if name in PASSED or name.startswith("PIP_") or name.lower() in PROXIES
    }
    return "".join('%s="%s"\n' % (name, _escaped(value)) for name, value in sorted(kept.items()))


def _escaped(value):
    for character in '\\"$`':
        value = value.replace(character, "\\" + character)
    return value
