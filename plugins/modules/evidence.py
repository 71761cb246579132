#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module hardened.vllm.evidence."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: evidence
short_description: Keep what a host shows of itself in an archive
version_added: 0.1.0
author: hardened.vllm maintainers (@hardened-vllm)
description:
  - Writes sockets, processes, units, rules, addresses, recent journal and the digests of files into one compressed tar archive, mode 0600.
  - Secrets do not go in. Files that hold some are there as digests only, and their values are replaced by digests in everything else, as
    is what command lines, units and the journal name a key, token or password.
  - What could not be had is named in the archive and returned; it does not fail the module.
options:
  directory:
    description: Directory of the archive, made with mode 0700.
    type: path
    default: /var/lib/hardened-vllm/evidence
  hashed:
    description: Directories whose files are listed with their digests. Links are not followed.
    type: list
    elements: path
    default: [/etc, /opt/hardened-vllm, /usr/local, /root/.ssh, /var/spool/cron]
  secret_files:
    description: Patterns of files that hold secrets. Every word of 16 characters or more in them counts as one.
    type: list
    elements: path
    default:
      - /etc/hardened-vllm/*/client.pem
      - /etc/hardened-vllm/*/secrets.yaml
      - /etc/hardened-vllm/*/tls.pem
      - /etc/hardened-vllm/gateway/authorization.conf
      - /etc/hardened-vllm/gateway/engines-client.pem
      - /etc/hardened-vllm/gateway/tls.key
  journal_hours:
    description: How far back the journal goes.
    type: int
    default: 24
attributes:
  check_mode:
    description: Says that it would write an archive.
    support: full
"""

EXAMPLES = r"""
- name: Keep the evidence
  hardened.vllm.evidence:
  register: evidence
"""

RETURN = r"""
path:
  description: The archive.
  type: str
  returned: success
sha256:
  description: Its digest, empty in check mode.
  type: str
  returned: success
missing:
  description: What could not be had, with the reason.
  type: list
  elements: str
  returned: success
"""

import glob
import hashlib
import io
import os
import re
import stat
import tarfile
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hardened.vllm.plugins.module_utils import audit_secrets, commands, files

UNITS = "hardened-vllm-*"
COMMANDS = {
    "time.txt": ["date", "--utc", "+%Y-%m-%dT%H:%M:%SZ"],
    "sockets.txt": ["ss", "--all", "--numeric", "--processes", "--tcp", "--udp", "--unix", "--extended"],
    "processes.txt": ["ps", "-eo", "pid,ppid,uid,user,lstart,stat,cgroup,args", "--width", "4000"],
    "units.txt": ["systemctl", "list-units", "--all", "--no-pager", "--full"],
    "unit-files.txt": ["systemctl", "list-unit-files", "--no-pager", "--full"],
    "unit-status.txt": ["systemctl", "status", UNITS, "--all", "--no-pager", "--full", "--lines=0"],
    "unit-text.txt": ["systemctl", "cat", UNITS, "--no-pager"],
    "timers.txt": ["systemctl", "list-timers", "--all", "--no-pager", "--full"],
    "rules.txt": ["nft", "list", "ruleset"],
    "addresses.txt": ["ip", "address", "show"],
    "routes.txt": ["ip", "route", "show", "table", "all"],
    "neighbours.txt": ["ip", "neighbour", "show"],
    "mounts.txt": ["findmnt", "--noheadings", "--list"],
    "modules.txt": ["lsmod"],
    "logins.txt": ["last", "-w", "-i", "-n", "200"],
    "packages.txt": ["dpkg-query", "--show"],
}
SECRET = re.compile(r"[A-Za-z0-9._~+/=-]{16,}")
LARGEST_FILE = 64 * 1024 * 1024


def values(patterns):
    """Return the secrets on this host (list of str), longest first."""
    found = set()
    for path in sorted(path for pattern in patterns for path in glob.glob(pattern)):
        with open(path, encoding="utf-8", errors="replace") as handle:
            for line in handle:
                if not line.lstrip().startswith("#"):
                    found.update(SECRET.findall(line))
    return sorted(found, key=len, reverse=True)


def masked(text, secrets):
    """Return ``text`` with every secret replaced by its digest."""
    for secret in secrets:
        text = text.replace(secret, "<sha256:%s>" % hashlib.sha256(secret.encode()).hexdigest())
    return text


def digest(path):
    """Return the SHA-256 of a file."""
    sha = hashlib.sha256()
    with open(path, "rb") as handle:
        for part in iter(lambda: handle.read(1024 * 1024), b""):
            sha.update(part)
    return sha.hexdigest()


def hashes(roots):
    """Yield a line for each file below ``roots``."""
    for root in roots:
        for base, folders, names in os.walk(root):
            folders.sort()
            for name in sorted(names):
                yield described(os.path.join(base, name))


def described(path):
    """Return one line about a file: digest, mode, owner, size, time of change, path."""
    try:
        info = os.lstat(path)
        if stat.S_ISLNK(info.st_mode):
            what = "-> " + os.readlink(path)
        elif not stat.S_ISREG(info.st_mode):
            what = "special"
        else:
            what = digest(path) if info.st_size <= LARGEST_FILE else "large"
    except OSError as error:
        return "unreadable (%s) %s" % (error.strerror, path)
    owner = "%d:%d" % (info.st_uid, info.st_gid)
    return "%s %o %s %d %.3f %s" % (what, info.st_mode, owner, info.st_size, info.st_mtime, path)


def programs():
    """Yield a line for each process: id, digest of its program, path; kernel threads have none."""
    for entry in sorted(filter(str.isdigit, os.listdir("/proc")), key=int):
        link = "/proc/%s/exe" % entry
        try:
            yield "%s %s %s" % (entry, digest(link), os.readlink(link))
        except OSError:  # a kernel thread, or it has ended
            continue


def gather(params):
    """Return ({name: text}, what is missing)."""
    found, missing = {}, []
    journal = ["journalctl", "--no-pager", "--output=short-iso-precise", "--since=-%dh" % params["journal_hours"]]
    for name, argv in {**COMMANDS, "journal.txt": journal}.items():
        try:
            found[name] = commands.run(argv, 60)
        except commands.CommandError as error:
            missing.append("%s: %s" % (name, str(error).splitlines()[0]))
    found["files.txt"] = "".join(line + "\n" for line in hashes(params["hashed"]))
    found["programs.txt"] = "".join(line + "\n" for line in programs())
    found["missing.txt"] = "".join(line + "\n" for line in missing)
    return found, missing


def pack(texts):
    """Return a compressed archive (bytes) of ``{name: text}``."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in sorted(texts.items()):
            content = text.encode("utf-8", "backslashreplace")
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(content), 0o600, int(time.time())
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "default": "/var/lib/hardened-vllm/evidence"},
            "hashed": {
                "type": "list",
                "elements": "path",
                "default": ["/etc", "/opt/hardened-vllm", "/usr/local", "/root/.ssh", "/var/spool/cron"],
            },
            "secret_files": {
                "type": "list",
                "elements": "path",
                "no_log": False,
                "default": [
                    "/etc/hardened-vllm/*/client.pem",
                    "/etc/hardened-vllm/*/secrets.yaml",
                    "/etc/hardened-vllm/*/tls.pem",
                    "/etc/hardened-vllm/gateway/authorization.conf",
                    "/etc/hardened-vllm/gateway/engines-client.pem",
                    "/etc/hardened-vllm/gateway/tls.key",
                ],
            },
            "journal_hours": {"type": "int", "default": 24},
        },
        supports_check_mode=True,
    )
    params = module.params
    path = os.path.join(params["directory"], "evidence-%s.tar.gz" % time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()))
    if module.check_mode:
        module.exit_json(changed=True, path=path, sha256="", missing=[])
    try:
        texts, missing = gather(params)
        secrets = values(params["secret_files"])
        # Those of others are known by the names before them, ours by their values.
        archive = pack({name: masked(audit_secrets.text(text), secrets) for name, text in texts.items()})
        os.makedirs(params["directory"], mode=0o700, exist_ok=True)
        files.write(path, files.State(files.FILE, archive, 0o600, os.geteuid(), os.getegid()))
    except OSError as error:
        module.fail_json(msg="%s: the evidence cannot be kept: %s" % (error.filename or path, error.strerror))
    module.exit_json(changed=True, path=path, sha256=hashlib.sha256(archive).hexdigest(), missing=missing)


if __name__ == "__main__":
    main()
