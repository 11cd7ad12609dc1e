"""`pki list`: every certificate that this server knows of, and how long it still holds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509

from bootstrapper.cluster.model import Cluster
from bootstrapper.errors import UserError
from bootstrapper.pki.certificates import at_time, names_of, parse_certificate
from bootstrapper.pki.issued import SERVER, list_owners, load_issued
from bootstrapper.pki.keys import load_keys
from bootstrapper.pki.leaves import LEAVES, Signer

OWN_AUTHORITY = "bootstrapper"


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    "Leaf, or `<authority> authority`."
    machine: str
    "Host name; `server` for this one; the MAC of a machine that the description has no longer."
    subject: str
    names: tuple[str, ...]
    "Alternative names: hosts and addresses."
    not_after: datetime
    days_left: int
    "Rounded down; negative once it has ended."
    authority: str
    "Which one signed it."
    key_here: bool
    "Whether the private key is in the state as well; not once a machine made its own."
    renews: bool = True
    "Whether it may be renewed; not that of a machine that was forgotten."


def list_rows(state: Path, cluster: Cluster, now: float) -> list[Row]:
    """Authorities first, then by machine as the description has them. Nothing is made. Raises UserError.

    `state` is the state directory.
    """
    directory = state / "pki" / "cluster"
    rows = list(_list_own(state / "pki", now))
    if (directory / "keys.json").exists():
        for signer, trust in load_keys(directory, now).authorities.items():
            for pem, what in ((trust.signing.pem, ""), (trust.next.pem if trust.next else "", ", next"),
                              (trust.previous, ", previous")):  # fmt: skip
                if pem:
                    rows.append(_row(f"{signer} authority{what}", SERVER, pem, signer, now, what != ", previous"))
    order = {machine.mac: (number, machine.host) for number, machine in enumerate(cluster.machines)}
    owners = sorted(list_owners(directory), key=lambda owner: order.get(owner, (len(order), owner)))
    for owner in [SERVER, *(owner for owner in owners if owner != SERVER)]:
        host = order.get(owner, (0, owner))[1]
        for name, issued in load_issued(directory, owner).items():
            if issued.current:
                key_here = bool(issued.key) and issued.current == issued.certificate
                rows.append(_row(name, host, issued.current, SIGNERS.get(name, ""), now, key_here, issued.renews))
    return rows


def _list_own(directory: Path, now: float) -> Iterator[Row]:
    """This server's own authority, and what it speaks TLS with."""
    for name, file in ((f"{OWN_AUTHORITY} authority", "authority"), ("https", "server")):
        path = directory / f"{file}.pem"
        if path.exists():
            yield _row(name, SERVER, path.read_text(), OWN_AUTHORITY, now, (directory / f"{file}.key").exists())


def _row(name: str, machine: str, pem: str, authority: str, now: float, key_here: bool, renews: bool = True) -> Row:
    try:
        certificate = parse_certificate(pem)
    except ValueError as error:
        raise UserError(f"the certificate {name} of {machine} cannot be read: {error}", "restore a backup") from error
    left = certificate.not_valid_after_utc - at_time(now)
    return Row(
        name=name,
        machine=machine,
        subject=certificate.subject.rfc4514_string(),
        names=tuple(_texts(names_of(certificate))),
        not_after=certificate.not_valid_after_utc,
        days_left=math.floor(left.total_seconds() / 86400),
        authority=str(authority),
        key_here=key_here,
        renews=renews,
    )


def _texts(names: Iterable[x509.GeneralName]) -> Iterator[str]:
    """Without the URN that only a renewal reads."""
    for name in names:
        if isinstance(name, x509.DNSName | x509.IPAddress):
            yield str(name.value)


SIGNERS: dict[str, Signer] = {leaf.name: leaf.signer for leaf in LEAVES}
