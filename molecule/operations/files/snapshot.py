"""Prints what a host holds, as JSON: files with mode, owner and digest, packages, accounts, units, kernel settings, nftables.

Left out is what changes by itself: logs, caches of the package manager, state of systemd, what a run of Ansible leaves.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOTS = ("/etc", "/opt", "/srv", "/usr", "/var")
PASSING = (
    "/etc/.pwd.lock",
    "/etc/group-",
    "/etc/gshadow-",
    "/etc/passwd-",
    "/etc/shadow-",
    "/etc/subgid-",
    "/etc/subuid-",
    "/usr/lib/python3",
    "/var/cache",
    "/var/lib/apt",
    "/var/lib/dpkg",
    "/var/lib/logrotate",
    "/var/lib/private",
    "/var/lib/systemd",
    "/var/log/journal",
    "/var/log/wtmp",
    "/var/log/lastlog",
    "/var/tmp",  # noqa: S108 - a name in a list, nothing is written there
)
UNITS = ("systemctl", "list-unit-files", "--no-pager", "--no-legend", "--plain")
SYSCTLS = ("net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports")


def said(*argv: str) -> list[str]:
    """Return the lines a program prints."""
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()


def told(path: Path) -> str:
    """Return one line about what is at a path."""
    info = path.lstat()
    owner = f"{info.st_mode:o} {info.st_uid}:{info.st_gid}"
    if path.is_symlink():
        return f"{owner} -> {path.readlink()}"
    if path.is_file():
        return f"{owner} {hashlib.sha256(path.read_bytes()).hexdigest()}"
    return owner


def below(folder: Path) -> Iterator[Path]:
    """Yield every file, link and directory below ``folder``."""
    for path in sorted(folder.iterdir()):
        if str(path) in PASSING or path.name == "__pycache__":
            continue
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from below(path)


def files() -> dict[str, str]:
    """Return what is below ROOTS."""
    return {str(path): told(path) for root in ROOTS for path in below(Path(root))}


def main() -> None:
    """Print it."""
    print(
        json.dumps(
            {
                "files": files(),
                "packages": said("dpkg-query", "--show"),
                # Transient ones are logins.
                "units": [line for line in said(*UNITS) if "transient" not in line.split()],
                "sysctl": {name: said("sysctl", "-n", name) for name in SYSCTLS},
                "tables": said("nft", "list", "tables"),
            }
        )
    )


if __name__ == "__main__":
    main()
