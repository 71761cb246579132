# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Between gateways and engines, TLS or a unix socket: what is declared, and the rules that look at more than one value of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..problems import Problem
from .kinds import Boolean, Choice, Field, Integer, Record, Report
from .words import CONTROLLER_PATH, HOST_NAME, KEY_PATH

ENGINE_TLS = Record(
    "tls",
    {
        "issuer": Field(
            Choice(("private", "files")),
            "Where the certificates come from: authorities of the cluster's own that the role makes below secrets_directory, or "
            "files on the controller.",
            "private",
        ),
        "name": Field(
            HOST_NAME,
            "Name in the engines' certificate; the gateways ask for it, no name server does.",
            "engines.internal",
        ),
        "certificate": Field(CONTROLLER_PATH, "Certificate chain (PEM) on the controller, for issuer files."),
        "key": Field(KEY_PATH, "Private key (PEM) on the controller, for issuer files."),
        "authority": Field(
            CONTROLLER_PATH,
            "Certificates (PEM) the gateways know the engines by, for issuer files; no others are trusted.",
        ),
        "lifetime_days": Field(
            Integer(2, 398), "Life of certificates of issuer private; a run in their last third renews them.", 90
        ),
        "client": Field(
            Boolean(), "Whether engines demand a certificate of whoever connects, which the gateways then show.", False
        ),
        "client_certificate": Field(CONTROLLER_PATH, "What the gateways show (PEM), for issuer files with client."),
        "client_key": Field(KEY_PATH, "Its private key (PEM), for issuer files with client."),
        "client_authority": Field(CONTROLLER_PATH, "Who signed it (PEM), for issuer files with client."),
    },
)

# Of the record ``engine``.
UPSTREAM: dict[str, Field] = {
    "listener": Field(
        Choice(("tcp", "unix")),
        "What vLLM's HTTP server listens on: tcp, a port of the fabric address; unix, a socket for the gateway on the same host and nobody else.",
        "tcp",
    ),
    "tls": Field(ENGINE_TLS, "TLS between gateways and engines; plain HTTP on the fabric when left out."),
}

SERVER = ("certificate", "key", "authority")
CLIENT = tuple(f"client_{name}" for name in SERVER)
HERE = "vllm_cluster.engine.tls"


def check_upstream_tls(values: Mapping[str, Any], report: Report) -> None:
    """Refuse files that are missing or would not be used, and engines the gateways do not speak with themselves."""
    tls = values["engine"]["tls"]
    if tls is None:
        return
    for problem in _sources(tls):
        report(problem)
    if values["transfer"] is not None:
        report(
            Problem(
                HERE,
                "tls-behind-router",
                "TLS together with transfer",
                "plain HTTP, because your router of prefill and decode speaks with the engines, not the gateway",
                "Remove engine.tls, or transfer.",
            )
        )


def check_listener(values: Mapping[str, Any], report: Report) -> None:
    """Refuse a unix socket for whom it would not lead to the engines, and TLS on it."""
    if values["engine"]["listener"] != "unix":
        return
    here = "vllm_cluster.engine.listener"
    if values["engine"]["tls"] is not None:
        report(
            Problem(
                here,
                "socket-tls",
                "unix together with engine.tls",
                "one of them, because what goes over a unix socket never leaves the host",
                "Remove engine.tls, or set listener to tcp.",
            )
        )
    if values["transfer"] is not None:
        report(
            Problem(
                here,
                "socket-behind-router",
                "unix together with transfer",
                "tcp, because your router of prefill and decode speaks with engines on other hosts",
                "Remove listener, or transfer.",
            )
        )
    if values["install"]["method"] == "image":
        report(
            Problem(
                here,
                "socket-image",
                "unix together with install.method image",
                "tcp, because the socket's directory is made for a service of the host, not for a container",
                "Set listener to tcp, or install from an index.",
            )
        )


def _sources(tls: Mapping[str, Any]) -> Iterator[Problem]:
    files, client = tls["issuer"] == "files", bool(tls["client"])
    needed = {**dict.fromkeys(SERVER, files), **dict.fromkeys(CLIENT, files and client)}
    for name, wanted in needed.items():
        path = f"{HERE}.{name}"
        if wanted and tls[name] is None:
            why = "issuer is files" + (" and client true" if name in CLIENT else "")
            yield Problem(path, "missing-key", "nothing", f"a value, because {why}", f"Set {path}.")
        elif not wanted and tls[name] is not None:
            why = f"issuer is {tls['issuer']}" if not files else "client is false"
            mend = f"set {HERE}.issuer to files" if not files else f"set {HERE}.client to true"
            yield Problem(path, "tls-source", "a value", f"nothing, because {why}", f"Remove it, or {mend}.")
