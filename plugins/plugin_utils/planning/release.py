# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the plan sets of itself on every engine, as far as the release has it, and what is unprotected where it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .. import catalogue
from ..problems import Problem, Severity

# Protections the plan sets unasked: what is open in a release that does not have them.
OPTIONS = {
    "allowed-media-domains": "requests may name media on any host",
    "disable-fastapi-docs": "the API shows its routes to whoever reaches it",
    "fail-on-environ-validation": "a misspelt variable goes unnoticed",
    "fingerprint-mode": "answers tell the version and the layout of the server",
    "limit-mm-per-prompt": "a prompt may hold any number of media",
    "load-format": "weights may be files that hold code",
    "max-num-queued-reqs": "the queue of requests has no end",
    "shutdown-timeout": "an engine that is stopped cuts off the requests it runs",
}
VARIABLES = {
    "VLLM_DO_NOT_TRACK": "usage is reported",
    "VLLM_MAX_N_SEQUENCES": "a request may ask for any number of answers",
    "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "a host of media may redirect anywhere",
    "VLLM_NO_USAGE_STATS": "usage is reported",
    "VLLM_PLUGINS": "every installed plugin is loaded",
}


def options_of(release: str, words: Sequence[str]) -> list[str]:
    """Return ``words`` (an option and its values) when the release has the option, else nothing."""
    name = words[0].removeprefix("--").removeprefix("no-")
    return list(words) if name not in OPTIONS or name in catalogue.known_flags(release) else []


def variables_of(release: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return ``environment`` without those of VARIABLES the release does not read."""
    known = catalogue.known_variables(release)
    return {name: value for name, value in environment.items() if name not in VARIABLES or name in known}


def unprotected(release: str) -> list[Problem]:
    """Return a warning for each protection the release does not have."""
    options, variables = catalogue.known_flags(release), catalogue.known_variables(release)
    missing = {f"--{name}": why for name, why in OPTIONS.items() if name not in options}
    missing |= {name: why for name, why in VARIABLES.items() if name not in variables}
    return [
        Problem(
            "vllm_cluster.release",
            "protection-missing",
            f"{release}, which has no {name}",
            f"a release that has it, because without it {why}",
            "Upgrade; the plan leaves it out until then.",
            Severity.WARNING,
        )
        for name, why in sorted(missing.items())
    ]
