"""What was issued to each machine, kept in a file of its own: `machines/<MAC>.json` in `pki/cluster` of the state.

A pair is made once and handed out again until it nears its end or would say something else. A machine that renews makes
its own key: from then on only the certificate is here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from cryptography import x509

from bootstrapper.errors import UserError
from bootstrapper.pki.certificates import parse_certificate, parse_key
from bootstrapper.pki.files import make_directory, read_private, write_private

SERVER = "server"
"The owner that is no machine: what this server has itself."
FORGET_S = 90 * 86400.0
"After its end a serial number is remembered this long: longer than a renewal is taken from."


@dataclass(frozen=True, slots=True)
class Serial:
    """A certificate that was issued, by its serial number."""

    until: float
    retired_at: float | None = None
    "Another took its place; from then on, but for a while after a renewal, it renews nothing."
    authority: str = ""
    "Key identifier of the authority that signed it, hex."
    born_at: float = 0.0
    "When the pair that it comes from was made for a claim; renewals do not change that."
    forgotten: bool = False
    "An admin had its machine forgotten: it renews nothing until the machine is released."


@dataclass(frozen=True, slots=True)
class Issued:
    """All there is of one leaf of one owner."""

    certificate: str = ""
    "PEM, with `key`: what a claim hands out. Empty when the machine renewed it with a key of its own."
    key: str = field(default="", repr=False)
    renewed: str = ""
    "PEM: what the machine was given when it last renewed."
    serials: Mapping[str, Serial] = field(default_factory=dict)
    "Serial number in hex -> what became of it; of every certificate that could still be shown to us."

    @property
    def current(self) -> str:
        """PEM of what the machine has, as far as we know; empty: nothing."""
        return self.renewed or self.certificate

    @property
    def renews(self) -> bool:
        """Whether what the machine has may be renewed, as far as we know."""
        serial = self.serials.get(name_serial(parse_certificate(self.current))) if self.current else None
        return serial is None or not (serial.forgotten or serial.retired_at is not None)


def name_serial(certificate: x509.Certificate) -> str:
    return f"{certificate.serial_number:x}"


def name_signer(certificate: x509.Certificate) -> str:
    """Empty for one that does not say: ours do, but a master can sign whatever it likes."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    except (x509.ExtensionNotFound, ValueError):
        return ""
    return (found.value.key_identifier or b"").hex()


def add_pair(issued: Issued, certificate: x509.Certificate, pem: str, key: str, now: float) -> Issued:
    """A pair that a claim hands out. The machine may have another until the claim is known to have come through."""
    return replace(issued, certificate=pem, key=key, serials=_with(issued, certificate, now))


def add_renewal(issued: Issued, shown: x509.Certificate, certificate: x509.Certificate, pem: str, now: float) -> Issued:
    """`shown` is retired, from the first time on that it was renewed."""
    name = name_serial(shown)
    kept = issued.serials.get(name, Serial(shown.not_valid_after_utc.timestamp(), authority=name_signer(shown)))
    retired = kept if kept.retired_at is not None else replace(kept, retired_at=now)
    serials = {**_with(issued, certificate, kept.born_at), name: retired}
    drained = issued.certificate and name_serial(parse_certificate(issued.certificate)) == name
    return replace(
        issued,
        certificate="" if drained else issued.certificate,
        key="" if drained else issued.key,
        renewed=pem,
        serials=_prune(serials, now),
    )


def retire_others(issued: Issued, now: float) -> Issued:
    """A new install has the pair: what the machine had before renews nothing, at once."""
    kept = name_serial(parse_certificate(issued.certificate)) if issued.certificate else ""
    serials = {
        name: serial if name == kept else replace(serial, retired_at=0.0) for name, serial in issued.serials.items()
    }
    return replace(issued, renewed="" if kept else issued.renewed, serials=_prune(serials, now))


def forget_issued(issued: Issued, at: float) -> Issued:
    """The machine was forgotten at `at`: nothing that it was given until then renews anything, and no pair of then is
    handed out again. What was made since, for a new install, is another's."""
    serials = {
        name: replace(serial, forgotten=True) if serial.born_at <= at else serial
        for name, serial in issued.serials.items()
    }
    pair = serials.get(name_serial(parse_certificate(issued.certificate))) if issued.certificate else None
    if pair is None or not pair.forgotten:
        return replace(issued, serials=serials)
    return Issued(renewed=issued.current, serials=serials)


def restore_issued(issued: Issued) -> Issued:
    """The forgotten machine is released, with the system that it has: what it could renew before, it can again."""
    serials = {name: replace(serial, forgotten=False) for name, serial in issued.serials.items()}
    return replace(issued, serials=serials)


def load_issued(directory: Path, owner: str) -> dict[str, Issued]:
    """Leaf name -> what `owner` (a first MAC, or SERVER) has of it. Raises UserError for a damaged file."""
    path = find_path(directory, owner)
    if not path.exists():
        return {}
    hint = f"move {path} away: new keys are made when the machine is installed again"
    try:
        document = json.loads(read_private(path, hint))
        return {name: _parse(entry) for name, entry in document["leaves"].items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path} is damaged: {error}", hint) from error


def save_issued(directory: Path, owner: str, issued: Mapping[str, Issued]) -> None:
    path = find_path(directory, owner)
    make_directory(path.parent)
    document = {"owner": owner, "leaves": {name: asdict(each) for name, each in issued.items()}}
    write_private(path, (json.dumps(document, indent=1) + "\n").encode())


def list_owners(directory: Path) -> Iterator[str]:
    """First MACs, and SERVER."""
    for path in sorted((directory / "machines").glob("*.json")):
        yield path.stem if path.stem == SERVER else path.stem.replace("-", ":")


def find_path(directory: Path, owner: str) -> Path:
    return directory / "machines" / f"{owner.replace(':', '-')}.json"


def _with(issued: Issued, certificate: x509.Certificate, born_at: float) -> dict[str, Serial]:
    until = certificate.not_valid_after_utc.timestamp()
    serial = Serial(until, authority=name_signer(certificate), born_at=born_at)
    return {**issued.serials, name_serial(certificate): serial}


def _prune(serials: Mapping[str, Serial], now: float) -> dict[str, Serial]:
    return {name: serial for name, serial in serials.items() if serial.until + FORGET_S > now}


def _parse(entry: dict[str, object]) -> Issued:
    certificate, key, renewed, serials = entry["certificate"], entry["key"], entry["renewed"], entry["serials"]
    if not isinstance(certificate, str) or not isinstance(key, str) or not isinstance(renewed, str):
        raise TypeError("a leaf has the wrong form")
    if not isinstance(serials, dict):
        raise TypeError("serials have the wrong form")
    if certificate and parse_key(key).public_key() != parse_certificate(certificate).public_key():
        raise ValueError("a certificate is not its key's")
    if renewed:
        parse_certificate(renewed)
    return Issued(certificate, key, renewed, {name: Serial(**serial) for name, serial in serials.items()})
