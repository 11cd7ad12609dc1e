"""Detached OpenPGP signatures, checked by the real gpg with a keyring of its own: nothing of the user's counts.

Flatcar's image signing key is built in (`keys/flatcar.asc`): primary key F88CFEDEFF29A5B4D9523864E25D9AED0593B34A, and
the one subkey that signs now, 52F145DF…1EF52974, which expires on 2027-03-08. It is the key that flatcar-install holds.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

from bootstrapper.errors import UserError

BUILT_IN: Mapping[str, str] = {"flatcar": "flatcar.asc"}
WARN_DAYS = 120
"How long before a key's end an admin is told: a release signed by the next key needs the next key here."
TIMEOUT_S = 600.0
"For gigabytes from a slow disk."


class Forged(UserError):
    """The file is not what its publisher made. Every other fault of a proof only says that it cannot be had now."""


class UnknownSigner(UserError):
    """None of the given keys made the signature; whether it is right nobody can say here."""


@dataclass(frozen=True, slots=True)
class Signer:
    fingerprint: str
    expires_at: float | None
    "Wall clock, seconds; None: never."


def load_key(key: str, beside: Path) -> bytes:
    """The public key called `key`: a built-in one's name, or a path from the directory `beside`. Raises UserError."""
    if key in BUILT_IN:
        return (files("bootstrapper.assets") / "keys" / BUILT_IN[key]).read_bytes()
    path = beside / key
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"the key {path} cannot be read: {error.strerror}", "give an OpenPGP public key") from error


def verify_signature(file: Path, signature: bytes, keys: Sequence[bytes], what: str) -> Signer:
    """Who signed `file`. Raises UserError, naming `what`, when it is none of `keys`, or one that has expired."""
    with _open_keyring(keys, what) as (gpg, home):
        path = home / "signature"
        path.write_bytes(signature)
        command = [*gpg, "--trust-model", "always", "--status-fd", "1", "--verify", str(path), str(file)]
        status = _run(command).stdout.decode(errors="replace")
        listing = _run([*gpg, "--with-colons", "--with-subkey-fingerprint", "--list-keys"]).stdout.decode()
    return judge(status, listing, what)


def check_key(name: str) -> None:
    """Raises UserError for a key of `--key` that is none: said at once, and not when what it shall prove has come."""
    with _open_keyring([load_key(name, Path())], f"--key {name}"):
        pass


@contextmanager
def _open_keyring(keys: Sequence[bytes], what: str) -> Iterator[tuple[list[str], Path]]:
    """(gpg's words with a keyring of just these, its directory)"""
    if shutil.which("gpg") is None:
        raise UserError(f"{what}: signatures are checked by gpg, and there is none here", "apt-get install gpg")
    with tempfile.TemporaryDirectory(prefix="bs-gpg-") as home:
        gpg = ["gpg", "--homedir", home, "--batch", "--no-tty", "--no-autostart", "--no-auto-key-retrieve"]
        for key in keys:
            imported = _run([*gpg, "--import"], key)
            if imported.returncode != 0:
                said = imported.stderr.decode(errors="replace").strip().rpartition("\n")[2]
                raise UserError(f"{what}: the key is no OpenPGP public key ({said})", "give one as gpg --export does")
        yield gpg, Path(home)


def judge(status: str, listing: str, what: str) -> Signer:
    """What gpg's status lines and its list of keys say. Raises UserError for anything but one good signature."""
    lines = [line.removeprefix("[GNUPG:] ").split() for line in status.splitlines() if line.startswith("[GNUPG:] ")]
    words = {line[0]: line[1:] for line in lines if line}
    ends = dict(_read_listing(listing))
    if words.keys() & {"BADSIG", "ERRSIG", "NO_PUBKEY", "NODATA", "EXPSIG", "REVKEYSIG"} or "VALIDSIG" not in words:
        for word, message in FAULTS.items():
            if word in words:
                fault = FAULT_KINDS.get(word, UserError)
                raise fault(f"{what}: {message}", HINTS.get(word, "get it again, from another source"))
        raise UserError(f"{what}: its signature could not be checked", "get it again, from another source")
    fingerprint = words["VALIDSIG"][0]
    end = ends.get(fingerprint)
    if "EXPKEYSIG" in words or ("KEYEXPIRED" in words and "GOODSIG" not in words):
        day = "" if end is None else f" on {_day(end)}"
        raise UserError(f"{what}: the key that signed it, {fingerprint[-16:]}, expired{day}", HINTS["EXPKEYSIG"])
    return Signer(fingerprint, end)


def warn_of_expiry(signer: Signer, now: float) -> str | None:
    """A line for the admin when the key that signs is about to end."""
    if signer.expires_at is None or signer.expires_at - now > WARN_DAYS * 86400:
        return None
    days = int((signer.expires_at - now) // 86400)
    return (
        f"the signing key {signer.fingerprint[-16:]} expires on {_day(signer.expires_at)}, in {days} days: what is "
        "signed after that needs the publisher's next key (--key FILE)"
    )


def _read_listing(listing: str) -> list[tuple[str, float | None]]:
    """Fingerprint -> when it ends, from gpg's colons: a pub or sub line, then its fpr line."""
    found = []
    end: float | None = None
    for line in listing.splitlines():
        fields = line.split(":")
        if fields[0] in ("pub", "sub"):
            end = float(fields[6]) if fields[6].isdigit() else None
        elif fields[0] == "fpr":
            found.append((fields[9], end))
    return found


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")


def _run(command: list[str], given: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(command, input=given or b"", capture_output=True, check=False, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise UserError(f"gpg did not end within {TIMEOUT_S:.0f} s", "is the disk ill?") from error


FAULTS = {
    "BADSIG": "its signature is wrong: it is not what was signed",
    "REVKEYSIG": "it is signed by a key that was revoked",
    "EXPSIG": "its signature has expired",
    "NO_PUBKEY": "it is signed by a key that is not known here",
    "ERRSIG": "its signature could not be checked",
    "NODATA": "its signature file holds no signature",
}
FAULT_KINDS: Mapping[str, type[UserError]] = {
    "BADSIG": Forged,
    "REVKEYSIG": Forged,
    "NO_PUBKEY": UnknownSigner,
}
HINTS = {
    "NO_PUBKEY": "give the publisher's key with --key FILE (Flatcar's: flatcar.org/security/image-signing-key)",
    "EXPKEYSIG": "get the publisher's newer key, check its fingerprint, and give it with --key FILE; or write the "
    "file's sha256 under `assets:` of the description",
}
