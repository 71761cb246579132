# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""TLS between gateways and engines: which certificates there are, and what a vLLM process is told of them."""

from __future__ import annotations

from typing import Any

from ..declaration.model import Declaration
from .topology import Seat


def upstream_tls(declaration: Declaration) -> dict[str, Any] | None:
    """Return what both ends need, None when requests go to the engines in plain text.

    All engines share one certificate: nginx holds its upstreams to one name, so that a certificate for each would keep no
    engine from posing as another. ``client`` is what the gateways show, None when engines do not ask. Paths are on the controller.
    """
    tls = declaration.values["engine"]["tls"]
    if tls is None:
        return None
    names = {"engines": tls["name"], "gateways": f"gateways.{tls['name']}"}
    server: dict[str, Any]
    client: dict[str, Any]
    if tls["issuer"] == "private":
        directory = f"{str(declaration.values['secrets_directory']).rstrip('/')}/tls"
        server, client = (
            {
                "certificate": f"{directory}/{owner}.pem",
                "key": f"{directory}/{owner}.key",
                "authority": f"{directory}/{owner}-authority.pem",
                "authority_key": f"{directory}/{owner}-authority.key",
                "names": [name],
            }
            for owner, name in names.items()
        )
    else:
        server = {
            **{name: tls[name] for name in ("certificate", "key", "authority")},
            "authority_key": None,
            "names": [tls["name"]],
        }
        client = {
            **{name: tls[f"client_{name}"] for name in ("certificate", "key", "authority")},
            "authority_key": None,
            "names": [],
        }
    return {
        "issuer": tls["issuer"],
        "name": tls["name"],
        "lifetime_days": tls["lifetime_days"],
        **server,
        "client": client if tls["client"] else None,
    }


def certificates(declaration: Declaration, own: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the certificates on the controller: those an own authority makes, and those that are looked at only.

    ``own`` is where the gateways' certificate for clients comes from. With ``authority_key`` what is missing is made; else ``authority``,
    where it is not None, has to have signed it.
    """
    found = []
    if own["issuer"] != "acme":
        found.append(_certificate(own, own["lifetime_days"], "server"))
    upstream = upstream_tls(declaration)
    if upstream is not None:
        found.append(_certificate(upstream, upstream["lifetime_days"], "server"))
        if upstream["client"] is not None:
            found.append(_certificate(upstream["client"], upstream["lifetime_days"], "client"))
    return found


def _certificate(part: dict[str, Any], lifetime_days: int, purpose: str) -> dict[str, Any]:
    names = ("certificate", "key", "authority", "authority_key", "names")
    return {**{name: part.get(name) for name in names}, "lifetime_days": lifetime_days, "purpose": purpose}


def tls_arguments(declaration: Declaration, seat: Seat) -> list[str]:
    """Return the options that give the server of ``seat`` its certificate, and with ``client`` have it ask for one."""
    tls = declaration.values["engine"]["tls"]
    if tls is None or not seat.api:
        return []
    directory = f"/etc/hardened-vllm/{seat.name}"
    # One file for both, so that no reader ever has the key of one certificate and the other certificate.
    words = ["--ssl-keyfile", f"{directory}/tls.pem", "--ssl-certfile", f"{directory}/tls.pem", "--enable-ssl-refresh"]
    return words + (["--ssl-ca-certs", f"{directory}/clients.pem", "--ssl-cert-reqs", "2"] if tls["client"] else [])
