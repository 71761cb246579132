# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates on the controller: judged as clients would judge them, and made with an authority of one's own."""

from __future__ import annotations

import datetime
import os
import subprocess
import tempfile

from ansible_collections.hardened.vllm.plugins.module_utils import keys

AUTHORITY_DAYS = 3650
NO_ADDRESSES = "excluded;IP:0.0.0.0/0.0.0.0, excluded;IP:0:0:0:0:0:0:0:0/0:0:0:0:0:0:0:0"
SETTINGS = """\
[req]
distinguished_name = subject
prompt = no
[subject]
CN = {subject}
[authority]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
nameConstraints = critical, {constraints}
[holder]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = {purpose}Auth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = {alternatives}
"""


class Problem(Exception):
    """Something the user has to mend."""


def openssl(*arguments):
    """Run openssl; return its output, Problem when it fails."""
    try:
        done = subprocess.run(
            ["openssl", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            check=False,
            # Whom this machine trusts besides is no matter of the certificates that are judged.
            env={**os.environ, "SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": os.devnull},
        )
    except FileNotFoundError:
        raise Problem("there is no program openssl: install it") from None
    if done.returncode != 0:
        raise Problem(f"openssl {arguments[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def end_of(certificate):
    """Return the moment a certificate ends."""
    text = openssl("x509", "-noout", "-enddate", "-in", certificate).strip().partition("=")[2]
    moment = datetime.datetime.strptime(text.replace(" GMT", ""), "%b %d %H:%M:%S %Y")
    return moment.replace(tzinfo=datetime.timezone.utc)


def other_names(certificate, names):
    """Return the names a certificate is not for."""
    answers = {name: openssl("x509", "-noout", "-checkhost", name, "-in", certificate) for name in names}
    return [name for name, answer in answers.items() if "does match" not in answer]


def closed(path):
    """Return whether a file is encrypted by a vault; what is in it is not looked at then."""
    with open(path, "rb") as handle:
        return handle.read(15) == b"$ANSIBLE_VAULT;"


def holds_key(path):
    """Return whether there is a private key in a file of certificates."""
    with open(path, "rb") as handle:
        return b"PRIVATE KEY-----" in handle.read()


def belongs(certificate, key):
    """Return whether a private key is the certificate's."""
    return openssl("x509", "-noout", "-pubkey", "-in", certificate) == openssl("pkey", "-pubout", "-in", key)


def signed(certificate, authority, purpose):
    """Return whether an authority's certificate leads to a certificate of a ``purpose`` (server or client), times aside."""
    words = ["-no_check_time", "-purpose", "ssl%s" % purpose, "-CAfile", authority, "-untrusted", certificate]
    try:
        openssl("verify", *words, certificate)
    except Problem:
        return False
    return True


def _place(source, target):
    """Put a finished file where it belongs."""
    with open(source, "rb") as handle:
        keys.write(target, handle.read())


class Certificate:
    """The files of one certificate, as the options name them."""

    def __init__(self, options):
        self.certificate, self.key = options["certificate"], options["key"]
        self.authority, self.authority_key = options["authority"], options["authority_key"]
        self.names, self.purpose = options["names"], options["purpose"]
        self.lifetime = datetime.timedelta(days=options["lifetime_days"])

    def missing(self, now):
        """Return the files that are to be made."""
        found = []
        if not os.path.exists(self.authority) and not os.path.exists(self.authority_key):
            found += [self.authority, self.authority_key]
        elif not (os.path.exists(self.authority) and os.path.exists(self.authority_key)):
            raise Problem(
                f"of {self.authority} and {self.authority_key} one is there and the other is not: bring it back"
            )
        return found + ([] if not found and self.usable(now) else [self.certificate, self.key])

    def usable(self, now):
        """Return whether the certificate may stay: of this authority, for these names, and not in its last third."""
        if not (os.path.exists(self.certificate) and os.path.exists(self.key)):
            return False
        return (
            end_of(self.certificate) - now > self.lifetime / 3
            and belongs(self.certificate, self.key)
            and signed(self.certificate, self.authority, self.purpose)
            and not other_names(self.certificate, self.names)
        )

    def make(self, missing):
        """Make what is missing."""
        with tempfile.TemporaryDirectory() as directory:
            settings, key, made = (os.path.join(directory, name) for name in ("settings", "key", "made"))
            with open(settings, "w", encoding="utf-8") as handle:
                alternatives = ", ".join(f"DNS:{name}" for name in self.names)
                constraints = ", ".join([f"permitted;DNS:{name}" for name in self.names] + [NO_ADDRESSES])
                told = {"constraints": constraints, "alternatives": alternatives, "purpose": self.purpose}
                handle.write(SETTINGS.format(subject=self.names[0][:64], **told))
            new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key]
            if self.authority in missing:
                life = ["-days", str(AUTHORITY_DAYS), "-extensions", "authority"]
                life += ["-subj", f"/CN=Authority of {self.names[0][:50]}"]
                openssl("req", "-x509", "-config", settings, *new_key, "-sha256", *life, "-out", made)
                _place(key, self.authority_key)
                _place(made, self.authority)
            request = os.path.join(directory, "request")
            openssl("req", "-new", "-config", settings, *new_key, "-out", request)
            words = ["-CA", self.authority, "-CAkey", self.authority_key, "-set_serial", f"0x{os.urandom(16).hex()}"]
            words += ["-days", str(self.lifetime.days), "-sha256", "-extfile", settings, "-extensions", "holder"]
            openssl("x509", "-req", "-in", request, *words, "-out", made)
            if not signed(made, self.authority, self.purpose):
                raise Problem(
                    f"the authority {self.authority} may not sign for {', '.join(self.names)}; it was made for other names. Move it "
                    "and its key away, and a new one is made, which clients have to trust then"
                )
            _place(key, self.key)
            _place(made, self.certificate)


def look(options, now):
    """Return when a certificate ends; Problem when clients would refuse it."""
    certificate, key = options["certificate"], options["key"]
    for path in (certificate, key):
        if not os.path.isfile(path):
            raise Problem(f"{path} does not exist: put it there or name another file")
    if closed(certificate):
        raise Problem(f"{certificate} is encrypted by a vault: a certificate is no secret, put it there in the clear")
    for path in (certificate, options["authority"]):
        if path and holds_key(path):
            raise Problem(
                f"{path} holds a private key too, and it goes where others read it: put certificates alone there"
            )
    ends = [(end_of(path), path) for path in (certificate, options["authority"]) if path]
    end, first = min(ends)
    if end <= now:
        raise Problem(f"the certificate {first} is over since {end:%Y-%m-%dT%H:%M:%SZ}: put a new one there")
    others = other_names(certificate, options["names"])
    if others:
        raise Problem(
            f"the certificate {certificate} is not for {', '.join(others)}: get one for that name, or mend the name"
        )
    if not closed(key) and not belongs(certificate, key):
        raise Problem(f"the key {key} is not that of the certificate {certificate}: put the right one there")
    if options["authority"] and not signed(certificate, options["authority"], options["purpose"]):
        raise Problem(
            f"the certificate {certificate} is not one for a {options['purpose']} that {options['authority']} leads to: put one there "
            "that it signed, with those between them, or name the authority that did"
        )
    return end
