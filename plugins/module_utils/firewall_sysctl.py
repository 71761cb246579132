# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel settings: read, write, compare, and the file that sets them at boot."""

from __future__ import annotations

import glob
import os
import re

from ansible_collections.hardened.vllm.plugins.module_utils.firewall_common import FirewallProblem

NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)+")
VALUE = re.compile(r"[A-Za-z0-9 ,:._-]*")
# Where systemd-sysctl looks; a file name that sorts later wins, whatever its directory.
DIRECTORIES = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d")
HEADER = "# Written by hardened.vllm.firewall; the values before it are put back when the role's removal runs.\n"


def checked(values):
    """{name: value as text}; FirewallProblem for names and values that are none."""
    found = {}
    for name, value in values.items():
        text = " ".join(str(value).split())
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise FirewallProblem(
                "sysctl: found the name %s, expected one such as net.ipv4.ip_local_port_range." % ascii(name)
            )
        if not VALUE.fullmatch(text):
            raise FirewallProblem(
                "sysctl.%s: found %s, expected numbers, words, commas and dashes." % (name, ascii(value))
            )
        found[name] = text
    return found


def path_of(name):
    """Return the file of the kernel that holds a setting."""
    return "/proc/sys/" + name.replace(".", "/")


def normal(name, value):
    """Return a value in the form the kernel prints it, so that equal settings compare equal."""
    if not name.endswith("reserved_ports"):
        return " ".join(value.split())
    ports = []
    for part in filter(None, "".join(value.split()).split(",")):
        first, _sep, last = part.partition("-")
        ports.append((int(first), int(last or first)))
    merged = []
    for low, high in sorted(ports):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return ",".join("%d" % low if low == high else "%d-%d" % (low, high) for low, high in merged)


def read(name):
    """Return the value in force, normalised; FirewallProblem when this kernel has no such setting."""
    try:
        with open(path_of(name), encoding="ascii") as handle:
            return normal(name, handle.read())
    except OSError as error:
        raise FirewallProblem("sysctl.%s: this kernel does not give it: %s" % (name, error.strerror)) from None


def write(name, value):
    """Set a value and read it back; FirewallProblem when the kernel refuses it or keeps another."""
    try:
        with open(path_of(name), "w", encoding="ascii") as handle:
            handle.write(value + "\n")
    except OSError as error:
        raise FirewallProblem("sysctl.%s: the kernel refuses %r: %s" % (name, value, error.strerror)) from None
    if read(name) != normal(name, value):
        raise FirewallProblem("sysctl.%s: set to %r, but the kernel keeps %r" % (name, value, read(name)))


def content(values):
    """Return the text of our file in /etc/sysctl.d, None when there is nothing to set."""
    if not values:
        return None
    return HEADER + "".join("%s = %s\n" % (name, values[name]) for name in sorted(values))


def overrides(values, own, directories=DIRECTORIES):
    """Words for every file that sorts after `own` and sets one of `values` to something else at boot."""
    files = {}
    for directory in directories:
        for path in glob.glob(os.path.join(directory, "*.conf")):
            # The same name in an earlier directory hides the later one.
            files.setdefault(os.path.basename(path), path)
    found = []
    for name in sorted(files):
        if name <= os.path.basename(own):
            continue
        try:
            with open(files[name], encoding="utf-8", errors="replace") as handle:
                lines = handle.read().splitlines()
        except OSError:  # a dangling link sets nothing
            continue
        for line in lines:
            match = re.match(r"\s*-?\s*([^#;=\s]+)\s*=\s*(.*?)\s*$", line)
            if match is None:
                continue
            key = match.group(1).replace("/", ".")
            if key in values and " ".join(match.group(2).split()) != values[key]:
                found.append("%s sets %s = %s" % (files[name], key, match.group(2)))
    return found
