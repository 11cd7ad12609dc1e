"""Checks of this computer: programs, clock, state directory, certificates."""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import bootstrapper
from bootstrapper.assets.item import Kind
from bootstrapper.assets.skopeo import find_skopeo
from bootstrapper.doctor.finding import Described, Finding, Grade
from bootstrapper.errors import UserError
from bootstrapper.mirroring import build_catalogue
from bootstrapper.pki.listing import Row, list_rows
from bootstrapper.servers.chrony import find_chronyd
from bootstrapper.servers.registry import find_registry
from bootstrapper.servers.tftp import load_boot_files

WARN_DAYS = 30
SLACK_S = 120.0
"What was saved just now may bear a time slightly ahead, from another computer."
_TIME_ERROR = 5
"adjtimex(2): the clock is not synchronised."
VOLATILE = {"tmpfs", "ramfs"}


def check_programs(site: Described) -> Iterator[Finding]:
    """Programs of others that the services start, and the boot files."""
    cluster = site.cluster
    needed: list[tuple[str, bool, Grade, Callable[[], object]]] = [
        ("chronyd", cluster.network.ntp.serve, Grade.FAIL, find_chronyd),
        ("docker-registry", cluster.registry.serve, Grade.FAIL, find_registry),
        ("iPXE's boot files", True, Grade.FAIL, lambda: load_boot_files(site.boot_files)),
        # Only `fetch` needs it: a rack that gets its images by bundles does without.
        ("skopeo", _lacks_images(site), Grade.WARN, find_skopeo),
    ]
    found = []
    for name, wanted, grade, find in needed:
        if wanted:
            try:
                find()
                found.append(name)
            except UserError as error:
                yield Finding("programs", grade, error.message, error.hint)
    if found:
        yield Finding("programs", Grade.OK, f"{', '.join(found)}: there")


def _lacks_images(site: Described) -> bool:
    items = build_catalogue(site.cluster, site.templates, site.lock)
    return any(item.kind is Kind.IMAGE and item.proof.sha256 is None for item in items)


def check_clock(site: Described) -> Iterator[Finding]:
    """Certificates are judged by it, here and on machines, which take their time from here."""
    here = datetime.fromtimestamp(site.now, UTC)
    package = Path(bootstrapper.__file__)
    for path in (package, site.description, site.state / "pki" / "authority.pem", site.state / "pki" / "server.pem"):
        try:
            made = path.stat().st_mtime
        except OSError:
            continue
        if made > site.now + SLACK_S:
            when = datetime.fromtimestamp(made, UTC)
            message = f"the clock says {here:%Y-%m-%d %H:%M} UTC, and {path} was written on {when:%Y-%m-%d %H:%M}"
            yield Finding("clock", Grade.FAIL, message, "set the clock: timedatectl set-time, or chronyd -q")
            return
    if _is_unsynchronised():
        yield Finding(
            "clock",
            Grade.WARN,
            f"it is {here:%Y-%m-%d %H:%M} UTC, and no time server has confirmed that",
            "compare it with a watch; machines take their time from here (network.ntp)",
        )
    else:
        yield Finding("clock", Grade.OK, f"it is {here:%Y-%m-%d %H:%M} UTC, synchronised")


def _is_unsynchronised() -> bool:
    """What the kernel knows; adjtimex without a change needs no right. Where it may not be asked: False."""
    buffer = ctypes.create_string_buffer(1024)  # struct timex is 208 bytes; mode 0 only reads
    state: int = ctypes.CDLL(None, use_errno=True).adjtimex(buffer)
    return state == _TIME_ERROR


def check_state(site: Described) -> Iterator[Finding]:
    """The state directory: private, writable for who serves, and on a disk that outlives a power cut."""
    state = site.state
    grades = []
    if not state.exists():
        parent = next(each for each in state.parents if each.exists())
        if not parent.is_dir():
            yield Finding("state", Grade.FAIL, f"{parent} is no directory", "give another with --state")
            return
        if not os.access(parent, os.W_OK):
            yield Finding(
                "state", Grade.FAIL, f"{state} is not there, and {parent} may not be written", "mkdir it first"
            )
            return
        yield Finding("state", Grade.OK, f"{state} is made at the first start")
        return
    status = state.stat()
    if not stat.S_ISDIR(status.st_mode):
        yield Finding("state", Grade.FAIL, f"{state} is no directory", "give another with --state")
        return
    if stat.S_IMODE(status.st_mode) & 0o077:
        grades.append(Grade.WARN)
        message = f"{state} may be read by others (mode {stat.S_IMODE(status.st_mode):o}): keys are in it"
        yield Finding("state", Grade.WARN, message, f"chmod 700 {state}; `serve` does so when it starts")
    # Started as root, `serve` hands everything to its user itself.
    if os.geteuid() != 0 and not os.access(state, os.W_OK | os.X_OK):
        grades.append(Grade.FAIL)
        yield Finding(
            "state", Grade.FAIL, f"{state} may not be written by this user", f"chown {site.account.name} {state}"
        )
    kind = find_filesystem(state, site.proc)
    if kind in VOLATILE:
        grades.append(Grade.WARN)
        message = f"{state} is in memory ({kind}): leases, keys and history are gone with the power"
        yield Finding("state", Grade.WARN, message, "put it on a disk (--state)")
    if not grades:
        yield Finding("state", Grade.OK, f"{state} is private, and may be written")


def find_filesystem(path: Path, proc: Path) -> str:
    """The type of the filesystem that `path` is on; empty when it cannot be found out."""
    best, kind = "", ""
    try:
        lines = (proc / "self" / "mounts").read_text().splitlines()
    except OSError:
        return ""
    whole = f"{path.resolve()}/"
    for line in lines:
        fields = line.split()
        place = fields[1].encode().decode("unicode_escape").rstrip("/") + "/"
        if whole.startswith(place) and len(place) >= len(best):
            best, kind = place, fields[2]
    return kind


def check_certificates(site: Described) -> Iterator[Finding]:
    """Authorities and certificates in the state; what machines hold they renew themselves."""
    if not (site.state / "pki").exists():
        yield Finding("certificates", Grade.OK, "authorities are made at the first start")
        return
    rows = list_rows(site.state, site.cluster, site.now)
    bad = [row for row in rows if row.days_left < WARN_DAYS]
    for row in bad:
        yield Finding("certificates", *_judge(row))
    if not bad:
        least = min((row.days_left for row in rows), default=0)
        yield Finding("certificates", Grade.OK, f"{len(rows)} are good for at least {least} days")


def _judge(row: Row) -> tuple[Grade, str, str]:
    what = f"{row.name} of {row.machine}"
    if row.machine != "server":
        hint = "is the machine on, and does it reach this server? it renews its certificates by itself"
        when = "has ended" if row.days_left < 0 else f"ends in {row.days_left} days"
        return Grade.WARN, f"{what} {when} ({row.not_after:%Y-%m-%d})", hint
    if "authority" in row.name:
        hint = "see docs/certificates.md: bootstrapper pki rotate; an ended authority of this server: from a backup"
    else:
        hint = "start `serve` again: it makes this one anew"
    if row.days_left < 0:
        grade = Grade.FAIL if "authority" in row.name else Grade.WARN
        return grade, f"{what} ended on {row.not_after:%Y-%m-%d}", hint
    return Grade.WARN, f"{what} ends in {row.days_left} days ({row.not_after:%Y-%m-%d})", hint
