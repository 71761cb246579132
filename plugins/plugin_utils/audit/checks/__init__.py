# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Everything the audit looks at, by the names the registry of controls knows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..view import Said, View
from . import (
    files,
    firewall,
    host,
    outside,
    processes,
    reach,
    redirections,
    routes,
    servers,
    settings,
    shares,
    tls,
    units,
)

Check = Callable[[View], Iterator[Said]]

CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        reach.planned_ports,
        reach.unplanned_ports,
        reach.exposed_sockets,
        routes.denied_routes,
        routes.disguised_routes,
        routes.keys_required,
        routes.limits_bite,
        routes.answer_headers,
        outside.bare_server,
        outside.keyless_routes,
        servers.foreign_tls,
        servers.foreign_headers,
        servers.foreign_origins,
        tls.tls_answers,
        tls.tls_protocols,
        tls.certificate,
        tls.engines_tls,
        firewall.firewall_drift,
        firewall.egress_wall,
        firewall.media_wall,
        firewall.forged_sources,
        redirections.foreign_firewall,
        shares.source_shares,
        host.declared_addresses,
        host.listening_sockets,
        host.kernel_settings,
        host.rdma_devices,
        host.service_accounts,
        units.engine_unit,
        units.gateway_unit,
        units.unit_files,
        files.secret_files,
        files.cache_files,
        files.engine_sockets,
        files.model_files,
        files.access_log,
        processes.planned_processes,
        processes.unplanned_processes,
        processes.confinement,
        processes.running_ray,
        processes.declared_release,
        processes.known_holes,
        settings.running_settings,
        settings.known_secrets,
    )
}
