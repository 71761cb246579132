"""Node images made on this machine by mmdebstrap; no registry, no mirror named.

The networks of a lab are isolated, so an image holds everything a role may ask apt for.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab.commands import run
from lab.host import LABEL, Host
from lab.paths import RUNTIME, private_directory
from lab.progress import Progress
from lab.spec import digest

REPOSITORY = "localhost/hardened-vllm-lab"

_COMMON = (
    "systemd,systemd-sysv,dbus,libpam-systemd,python3,openssh-server,iproute2,nftables,procps,sudo,ca-certificates,curl"
)
PACKAGES = {
    "bookworm": f"{_COMMON},firewalld,libnginx-mod-http-js,libnuma1,logrotate,nginx,python3-venv,ufw",
    "trixie": f"{_COMMON},lego,logrotate,libnginx-mod-http-js,nginx,openssl,pebble,squid",
    "quadlet": f"{_COMMON},crun,netavark,podman",
}
# Images whose name is not that of their Debian release.
_SUITES = {"quadlet": "trixie"}

# Runs on the host with the new root as $1. The nodes are privileged, so nothing in them may set the kernel's own
# (not namespaced) values at boot; units that make no sense in a container are masked; the host key and the
# authorised key are each lab's own. nginx and squid are installed and off: the gateway's role decides when they start.
_CUSTOMISE = r"""
set -eu
root=$1
rm -f "$root"/etc/ssh/ssh_host_* "$root"/etc/machine-id "$root"/etc/resolv.conf "$root"/etc/hostname
: >"$root/etc/machine-id"
: >"$root/etc/resolv.conf"
mkdir -p "$root/etc/sysctl.d" "$root/etc/ssh/sshd_config.d"
for file in "$root"/usr/lib/sysctl.d/*.conf; do
    if [ -e "$file" ]; then ln -sf /dev/null "$root/etc/sysctl.d/${file##*/}"; fi
done
printf '%s\n' 'PermitRootLogin prohibit-password' 'PasswordAuthentication no' 'UseDNS no' \
    >"$root/etc/ssh/sshd_config.d/lab.conf"
for unit in systemd-modules-load systemd-udevd systemd-pstore systemd-random-seed getty@tty1 console-getty \
    apt-daily apt-daily-upgrade dpkg-db-backup e2scrub_all fstrim systemd-timesyncd systemd-resolved; do
    for kind in service timer; do ln -sf /dev/null "$root/etc/systemd/system/$unit.$kind"; done
done
# A privileged node would copy this machine's kernel log into its own journal.
mkdir -p "$root/etc/systemd/journald.conf.d"
printf '[Journal]\nReadKMsg=no\n' >"$root/etc/systemd/journald.conf.d/lab.conf"
chroot "$root" systemctl enable ssh.service >/dev/null 2>&1
chroot "$root" systemctl disable ssh.socket nftables.service ufw.service firewalld.service >/dev/null 2>&1 || true
if [ -e "$root/usr/sbin/nginx" ]; then
    chroot "$root" systemctl disable nginx.service >/dev/null 2>&1
    rm -f "$root"/etc/nginx/sites-enabled/default
fi
if [ -e "$root/usr/lib/systemd/system/squid.service" ]; then
    chroot "$root" systemctl disable squid.service >/dev/null 2>&1
fi
chroot "$root" systemctl set-default multi-user.target >/dev/null 2>&1
"""


def tag(suite: str) -> str:
    """Return the full name of an image; it changes when the recipe does."""
    return f"{REPOSITORY}/{suite}:{digest(suite, PACKAGES[suite], _CUSTOMISE)}"


def ensure(host: Host, suite: str, progress: Progress) -> str:
    """Build the image of a suite unless it is there; return its name."""
    name = tag(suite)
    if host.podman_succeeds("image", "exists", name):
        return name
    with _locked(suite):
        if not host.podman_succeeds("image", "exists", name):
            with progress.step(f"image {suite}"):
                _build(host, suite, name)
    return name


@contextmanager
def _locked(suite: str) -> Iterator[None]:
    """Keep two runs, of whatever checkout, from building the same image."""
    with (private_directory(RUNTIME) / f"image-{suite}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(host: Host, suite: str, name: str) -> None:
    directory = Path(tempfile.mkdtemp(prefix="hardened-vllm-lab-"))
    # mmdebstrap unpacks as an unprivileged _apt user, who must be able to reach the directory.
    directory.chmod(0o755)
    try:
        hook = directory / "customise"
        hook.write_text(_CUSTOMISE)
        archive = directory / "root.tar"
        run(
            [
                "mmdebstrap", "--quiet", "--variant=minbase", "--mode=root", f"--include={PACKAGES[suite]}",
                "--aptopt=APT::Install-Recommends false",
                "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/doc/*",
                "--dpkgopt=path-exclude=/usr/share/locale/*",
                f'--customize-hook=sh {hook} "$1"', _SUITES.get(suite, suite), str(archive),
            ],
            timeout=1200,
            remedy="see that apt-get update works on this machine and 2 GB are free, then repeat",
        )  # fmt: skip
        changes = [f"--change=LABEL {LABEL}=image", '--change=CMD ["/sbin/init"]', "--change=STOPSIGNAL SIGRTMIN+3"]
        host.podman("import", "--quiet", *changes, str(archive), name)
    finally:
        shutil.rmtree(directory)


def _own(host: Host) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = host.podman_json("images", "--format=json", f"--filter=label={LABEL}=image")
    return found


def _name(image: dict[str, Any]) -> str:
    """Return an image's name, or its number where a newer image has taken the name."""
    return str((image.get("Names") or [image["Id"]])[0])


def sizes(host: Host) -> list[tuple[str, int]]:
    """Return (name, bytes) of every image of the lab."""
    return [(_name(image), int(image["Size"])) for image in _own(host)]


def remove(host: Host, *, keep_current: bool) -> list[str]:
    """Remove the lab's images that no container uses; return their names.

    ``keep_current`` keeps those of today's recipes, so that only what older recipes left behind goes.
    """
    kept = {tag(suite) for suite in PACKAGES} if keep_current else set()
    names = [_name(image) for image in _own(host)]
    removed = [name for name in names if name not in kept and not _in_use(host, name)]
    if removed:
        host.podman("rmi", *removed)
    return removed


def _in_use(host: Host, name: str) -> bool:
    return bool(host.podman("ps", "-aq", f"--filter=ancestor={name}").strip())
