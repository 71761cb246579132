# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proxies for benchmarks: nginx bare and as the role gateway renders it, and others that lie in environments of their own."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.hardened.vllm.plugins.plugin_utils.core import plan
from gateway import render

KEY = "a-key-for-benchmarks-0123456789abcdef"
MODEL = "mock"
BARE = """\
daemon off;
pid {directory}/nginx.pid;
worker_processes 1;
error_log stderr error;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/unused;
    uwsgi_temp_path {directory}/unused;
    scgi_temp_path {directory}/unused;
    upstream engines {{ server 127.0.0.1:{upstream}; keepalive 64; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://engines;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
}}
"""
# What vLLM's own page on nginx shows, with this machine's addresses.
OF_THE_DOCS = """\
daemon off;
pid {directory}/nginx.pid;
worker_processes 1;
error_log stderr error;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/unused;
    uwsgi_temp_path {directory}/unused;
    scgi_temp_path {directory}/unused;
    upstream backend {{
        least_conn;
        server 127.0.0.1:{upstream} max_fails=3 fail_timeout=10000s;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://backend;
            proxy_set_header Host $host;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
        }}
    }}
}}
"""


@dataclass(frozen=True)
class Proxy:
    """A running proxy: where it listens, and its first process."""

    port: int
    tls: bool
    pid: int

    def processes(self) -> list[int]:
        """Return the ids of the proxy's processes."""
        found, left = [], [self.pid]
        while left:
            pid = left.pop()
            found.append(pid)
            with contextlib.suppress(OSError):
                for children in Path(f"/proc/{pid}/task").glob("*/children"):
                    left += [int(word) for word in children.read_text().split()]
        return found

    def cpu_seconds(self) -> float:
        """Return the processor time of all its processes so far."""
        total = 0
        for pid in self.processes():
            for file in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                total += int(file.read_text().split()[0])
        return total / 1e9

    def memory_bytes(self) -> int:
        """Return the memory of all its processes, shared pages counted once (proportional set size)."""
        total = 0
        for pid in self.processes():
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        return total * 1024


def nginx(cache: Path) -> tuple[str, str] | None:
    """Return nginx and the directory of its modules: the installed one, else the distribution's unpacked below ``cache``."""
    for root in (Path("/"), cache):
        program, modules = root / "usr/sbin/nginx", root / "usr/lib/nginx/modules"
        if program.exists() and (modules / "ngx_http_js_module.so").exists():
            return str(program), str(modules)
    return None


def unpack(cache: Path) -> str:
    """Fetch the distribution's nginx and unpack it below ``cache``, installing nothing; return what apt said if it could not."""
    cache.mkdir(parents=True, exist_ok=True)
    argv = ["apt-get", "download", "nginx", "libnginx-mod-http-js"]
    if not shutil.which("apt-get"):
        return "there is no apt-get"
    done = subprocess.run(argv, cwd=cache, capture_output=True, text=True, check=False)
    for package in cache.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package.name, "."], cwd=cache, check=False)
    return "" if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listening(port: int, alive: Callable[[], bool]) -> bool:
    """Wait until something listens on ``port``; return false when it is no longer alive, or after three minutes."""
    for _attempt in range(1800):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        if not alive():
            return False
        time.sleep(0.1)
    return False


def tenant_key(number: int) -> str:
    """Return the key of tenant ``number`` of ``gateway_part``, from 0; the last tenant has KEY instead."""
    return f"a-key-of-tenant-{number}"


def gateway_part(
    port: int,
    upstream: int,
    tenants: int = 1,
    last: dict[str, Any] | None = None,
    others: dict[str, Any] | None = None,
    kinds: int = 1,
    **gateway: Any,
) -> dict[str, Any]:
    """Return a gateway's part of a plan with so many tenants; the last one has KEY and what ``last`` says, ``others`` the rest.

    Their limits differ in ``kinds`` ways. ``gateway`` is more of the declaration of the gateway. ``port`` and
    ``upstream`` are on 127.0.0.1.
    """
    limits = {"burst": 100_000, "concurrent": 65_535}
    keys = {f"tenant-{number}": tenant_key(number) for number in range(tenants - 1)} | {"last": KEY}
    declared = [
        {
            "name": name,
            "keys": [{"id": "k", "sha256": hashlib.sha256(key.encode()).hexdigest()}],
            "requests_per_second": 100_000 - number % kinds,
            **limits,
            **((last if name == "last" else others) or {}),
        }
        for number, (name, key) in enumerate(keys.items())
    ]
    addresses = {"fabric": ["10.0.0.1"], "edge": ["192.0.2.1"]}
    made = plan(
        {
            "name": "bench",
            "release": "0.32.0",
            "topology": "replicas",
            "model": {"path": "/srv/models/mock", "name": MODEL},
            "networks": {"fabric": {"cidrs": ["10.0.0.0/24"]}, "edge": {"cidrs": ["192.0.2.0/24"]}},
            "gateway": {"server_name": "localhost", "tls": {"certificate": "/c", "key": "/k"}, **gateway},
            "tenants": declared,
            "admin": {"ssh_from": ["10.0.0.0/24"]},
            "secrets_directory": "/s",
        },
        {
            "engine": {"roles": ["engine"], "node": {"addresses": {"fabric": ["10.0.0.2"]}}},
            "gateway": {"roles": ["gateway"], "node": {"addresses": addresses}},
        },
        datetime.date(2026, 1, 1),
    )
    part: dict[str, Any] = made["hosts"]["gateway"]["gateway"]
    part["listen"] = [{"address": "127.0.0.1", "port": port}]
    part["upstreams"] = [{"name": "engine", "address": "127.0.0.1", "port": upstream, "concurrent": None}]
    return part


def _certificate(directory: Path) -> None:
    argv = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    files = ["-subj", "/CN=localhost", "-keyout", str(directory / "tls.key"), "-out", str(directory / "tls.crt")]
    subprocess.run([*argv, *files], check=True, capture_output=True)


def write_gateway(
    program: tuple[str, str], directory: Path, part: dict[str, Any], tls: bool = True, **variables: Any
) -> Path:
    """Write the role's own configuration for ``part``, without TLS if so wished; return the file nginx starts with."""
    for name in ("body", "proxy", "unused"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    own = {"__gateway_modules_directory": program[1], "gateway_worker_processes": 1, **variables}
    render(directory, part, **own)
    if not (directory / "tls.crt").exists():
        _certificate(directory)
    main = directory / "nginx.conf"
    # As root nginx would give up its rights for a user that may not write here.
    text = main.read_text().replace("daemon on;", "daemon off;\nuser root;")
    main.write_text(text if tls else text.replace(" ssl http2", ""))
    return main


@contextlib.contextmanager
def gateway(
    program: tuple[str, str],
    directory: Path,
    part: dict[str, Any],
    tls: bool = True,
    change: Callable[[Path], None] | None = None,
    **variables: Any,
) -> Iterator[Proxy]:
    """Run nginx with the role's own configuration for ``part``, after ``change`` has had its way with the files."""
    main = write_gateway(program, directory, part, tls, **variables)
    if change is not None:
        change(directory)
    with _running([program[0], "-c", str(main)], part["listen"][0]["port"], tls) as proxy:
        yield proxy


def ours(
    program: tuple[str, str], directory: Path, upstream: int, tls: bool, tenants: int, kinds: int = 1, **declared: Any
) -> contextlib.AbstractContextManager[Proxy]:
    """Run nginx with the role's own configuration for so many tenants, whose limits differ in ``kinds`` ways.

    ``declared`` is more of the declaration of the gateway.
    """
    return gateway(program, directory, gateway_part(free_port(), upstream, tenants, kinds=kinds, **declared), tls)


@contextlib.contextmanager
def plain_nginx(
    program: tuple[str, str], directory: Path, upstream: int, configuration: str = BARE, tls: bool = False
) -> Iterator[Proxy]:
    """Run nginx with another configuration than ours, by default one that hands everything on."""
    port = free_port()
    directory.mkdir()
    text = configuration.format(directory=directory, port=port, upstream=upstream)
    if tls:
        _certificate(directory)
        files = f"ssl_certificate {directory}/tls.crt; ssl_certificate_key {directory}/tls.key;"
        text = text.replace(f"listen 127.0.0.1:{port};", f"listen 127.0.0.1:{port} ssl; {files}")
    (directory / "nginx.conf").write_text(text)
    with _running([program[0], "-c", str(directory / "nginx.conf")], port, tls) as proxy:
        yield proxy


@contextlib.contextmanager
def vllm_router(environment: Path, upstream: int) -> Iterator[Proxy]:
    """Run vllm-router from its own environment in front of the upstream."""
    port = free_port()
    words = ["--worker-urls", f"http://127.0.0.1:{upstream}", "--host", "127.0.0.1", "--port", str(port)]
    more = ["--policy", "round_robin", "--prometheus-port", str(free_port())]
    with _running([str(environment / "bin/vllm-router"), *words, *more], port, False) as proxy:
        yield proxy


@contextlib.contextmanager
def litellm(environment: Path, directory: Path, upstream: int) -> Iterator[Proxy]:
    """Run LiteLLM's proxy from its own environment in front of the upstream."""
    port = free_port()
    directory.mkdir()
    file = directory / "config.yaml"
    params = f"{{model: openai/{MODEL}, api_base: 'http://127.0.0.1:{upstream}/v1', api_key: x}}"
    settings = f"general_settings: {{master_key: {KEY}}}\nlitellm_settings: {{telemetry: false}}\n"
    file.write_text(f"model_list:\n  - {{model_name: {MODEL}, litellm_params: {params}}}\n{settings}")
    argv = [str(environment / "bin/litellm"), "--config", str(file), "--host", "127.0.0.1", "--port", str(port)]
    with _running([*argv, "--num_workers", "1"], port, False) as proxy:
        yield proxy


@contextlib.contextmanager
def _running(argv: list[str], port: int, tls: bool) -> Iterator[Proxy]:
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)
    try:
        if not listening(port, lambda: process.poll() is None):
            process.kill()
            said = process.stderr.read().decode() if process.stderr else ""
            raise RuntimeError(f"{argv[0]} does not listen on port {port}: {said[-500:]}")
        yield Proxy(port, tls, process.pid)
    finally:
        process.terminate()
        process.wait(timeout=30)
