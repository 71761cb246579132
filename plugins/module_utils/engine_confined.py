# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs what fetches in a unit of its own that may call declared blocks, or the named hosts, only; they close when the unit ends.

systemd drops the unit's packets to and from everybody else (``IPAddressDeny=``, systemd.resource-control(5)). That needs the
unified control group hierarchy and is silently left out without it, so the unit proves it before it starts the program. Where
nobody may be called the unit has no network but a loopback of its own (``PrivateNetwork=``), which needs no such hierarchy.
Where hosts are named they are looked up before, and the unit knows no other name: what answers a name server gives later opens nothing.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
from urllib.parse import urlsplit
from urllib.request import getproxies_environment

from ansible_collections.hardened.vllm.plugins.module_utils import commands

# The name server of systemd-resolved, which the host itself asks for names.
RESOLVED = "127.0.0.53/32"
# Where the proof listens: an address of loopback that is nobody's, since a proxy or an index may be at 127.0.0.1.
CANARY = "127.86.77.68"
NOT_CONFINED = 78
NO_DENY = (
    "this host does not hold %s back to what purpose %s may call: systemd's IPAddressDeny= has no "
    "effect, it needs the unified control group hierarchy (v2). Nothing was fetched. Boot with it, or %s."
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
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 2).close()
except OSError:
    os.execv(sys.argv[3], sys.argv[3:])
sys.exit(78)
"""
# The programs need an account's name at most; names of hosts come from the file alone.
NSSWITCH = "passwd: files\ngroup: files\nhosts: files\n"


# By purpose of a destination: what is held back, how to do without it, and where further hosts are declared.
HELD = {
    "install": (
        "the installer",
        "bring wheels (install.find_links, install.bundle) or an image (install.image_archive)",
        "install.index_hosts",
    ),
    "model": ("what fetches the model", "bring the model yourself (model.path)", "model.source.hosts"),
}


def run(argv, destinations, timeout, scratch, purpose="install", properties=(), hosts=(), python=None):
    """Run ``argv`` (an absolute path and its words) and return its standard output (str).

    ``destinations`` are the blocks of ``purpose`` it may exchange packets with (none: no network at all). When they are None it may with
    ``hosts`` (names or addresses) and the proxies of the environment. ``timeout`` is in seconds, ``scratch`` a directory only root reads,
    ``properties`` are further settings of the unit, ``python`` an interpreter where ``argv`` starts none. Raises commands.CommandError,
    also when this host does not hold the program back.
    """
    settings = os.path.join(scratch, "confined.env")
    with open(settings, "w", encoding="utf-8") as handle:
        handle.write(environment(os.environ))
    unit = "hardened-vllm-%s-%d.service" % (purpose, os.getpid())
    properties = [*properties, "EnvironmentFile=%s" % settings, "NoNewPrivileges=yes", "UMask=0022"]
    properties += ["RuntimeMaxSec=%d" % max(1, int(timeout))]
    hint = ""
    if destinations is None:
        found = look_up([*hosts, *_proxies()])
        properties += _allowed(address for each in found.values() for address in each)
        properties += _names(found, scratch)
        shown = ", ".join("%s (%s)" % (name, ", ".join(each) or "unknown here") for name, each in found.items())
        hint = "\nIt may call %s and nobody else; further hosts are declared in %s." % (shown, HELD[purpose][2])
    elif destinations:
        properties += _allowed([*destinations, RESOLVED])
    else:
        properties.append("PrivateNetwork=yes")
    start = ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", "--unit=%s" % unit]
    start += [*("--property=%s" % text for text in properties), "--"]
    with socket.create_server((CANARY, 0)) as canary:
        prove = [python or argv[0], "-I", "-c", PROVE, CANARY, str(canary.getsockname()[1])]
        try:
            return commands.run([*start, *prove, *argv], timeout + 5)
        except commands.CommandError as error:
            if "ended with status %d" % NOT_CONFINED in str(error):
                denied = NO_DENY % (HELD[purpose][0], purpose, HELD[purpose][1])
                raise commands.CommandError(NO_PRIVATE if destinations == [] else denied) from None
            # The program is what failed; how its unit was started helps nobody.
            told = str(error).replace(" ".join([*start, *prove, ""]), "", 1)
            raise commands.CommandError(told + hint) from None
        finally:
            # After an interruption the unit would go on; one that has ended is gone, which is as good.
            with contextlib.suppress(commands.CommandError):
                commands.run(["systemctl", "stop", unit], 60)


def host_of(url):
    """Return the host in ``url`` (a proxy may be written without a scheme), an empty text when there is none."""
    try:
        return urlsplit(url if "://" in url else "//" + url).hostname or ""
    except ValueError:
        return ""


def _proxies():
    return [host_of(url) for kind, url in getproxies_environment().items() if kind != "no"]


def look_up(hosts):
    """Return ``{host: addresses}`` for names and addresses, without link-local ones. Raises commands.CommandError when none has any."""
    found = {host: _addresses(host) for host in dict.fromkeys(hosts) if host}
    if any(found.values()):
        return found
    raise commands.CommandError(
        "this host finds no address for %s. Nothing was fetched. Mend name resolution on the host, or declare addresses in "
        "vllm_cluster.egress." % (", ".join(found) or "anything to call")
    )


def _addresses(host):
    try:
        answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    plain = dict.fromkeys(answer[4][0].partition("%")[0] for answer in answers)
    # No index or hub is at a link-local address; metadata of a cloud is.
    return [text for text in plain if not ipaddress.ip_address(text).is_link_local]


def _allowed(blocks):
    return ["IPAddressDeny=any", *("IPAddressAllow=%s" % block for block in dict.fromkeys(blocks))]


def _names(found, scratch):
    """Return the settings that make ``found`` the only names the unit can look up."""
    lines = ["127.0.0.1 localhost", "::1 localhost"]
    lines += [
        "%s %s" % (address, host) for host, addresses in found.items() for address in addresses if address != host
    ]
    settings = []
    for name, text in (("hosts", "\n".join(lines) + "\n"), ("nsswitch.conf", NSSWITCH)):
        path = os.path.join(scratch, name)
        with open(path, "w", encoding="utf-8") as handle:
            handle.write(text)
        settings.append("BindReadOnlyPaths=%s:/etc/%s" % (path, name))
    return settings


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
