"""Giving up privileges once every socket is open.

What stays is the right to bind low ports, inherited by children through the ambient set: chronyd must be able to
start again by itself. Python has no calls for capabilities, so prctl(2) and capset(2) go through ctypes.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bootstrapper.errors import UserError

CAP_NET_BIND_SERVICE = 10
# From linux/prctl.h
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_KEEPCAPS, _PR_SET_NO_NEW_PRIVS = 1, 4, 8, 38
_PR_CAPBSET_READ, _PR_CAPBSET_DROP, _PR_CAP_AMBIENT, _RAISE = 23, 24, 47, 2
_CAPABILITY_VERSION_3 = 0x20080522


@dataclass(frozen=True, slots=True)
class Account:
    uid: int
    gid: int
    name: str


def find_account(name: str) -> Account:
    """The account to run as, by name or number. Raises UserError when there is no such user."""
    try:
        entry = pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
    except KeyError:
        raise UserError(
            f"there is no user {name!r} to run as after the sockets are bound",
            f"create it (useradd --system --home-dir /nonexistent {name}), or name another with --user",
        ) from None
    return Account(entry.pw_uid, entry.pw_gid, entry.pw_name)


def default_account() -> Account:
    """`bootstrapper` where an admin (or the package) created it; else whoever runs this, without root's powers."""
    try:
        return find_account("bootstrapper") if os.geteuid() == 0 else find_account(str(os.geteuid()))
    except UserError:
        return Account(os.geteuid(), os.getegid(), "root" if os.geteuid() == 0 else str(os.geteuid()))


def hand_over(directory: Path, account: Account) -> None:
    """Give `directory` and all below it to `account`. For root, before privileges are dropped; raises OSError.

    It is walked by descriptors, never by names: the account owned it before, and a name that it turns into a link in
    between would give it any file of the host.
    """

    def stop(error: OSError) -> None:
        raise error

    for _path, folders, files, descriptor in os.fwalk(directory, onerror=stop, follow_symlinks=False):
        os.fchown(descriptor, account.uid, account.gid)
        for name in (*folders, *files):
            os.chown(name, account.uid, account.gid, dir_fd=descriptor, follow_symlinks=False)


def drop_privileges(account: Account) -> None:
    """Become `account` for good, keeping CAP_NET_BIND_SERVICE for children. Without root there is nothing to drop.

    With account root the process keeps root's files but none of its powers: an empty bounding set means that even a
    program it starts gets no capability but the one kept.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    _call(libc.prctl, _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.geteuid() != 0:
        return
    for capability in range(_last_capability() + 1):
        if capability != CAP_NET_BIND_SERVICE and libc.prctl(_PR_CAPBSET_READ, capability, 0, 0, 0) == 1:
            _call(libc.prctl, _PR_CAPBSET_DROP, capability, 0, 0, 0)
    _call(libc.prctl, _PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setresgid(account.gid, account.gid, account.gid)
    os.setresuid(account.uid, account.uid, account.uid)
    bit = 1 << CAP_NET_BIND_SERVICE
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)
    _call(libc.capset, header, data)
    _call(libc.prctl, _PR_CAP_AMBIENT, _RAISE, CAP_NET_BIND_SERVICE, 0, 0)
    _call(libc.prctl, _PR_SET_DUMPABLE, 0, 0, 0, 0)


def _last_capability() -> int:
    return int(Path("/proc/sys/kernel/cap_last_cap").read_text())


def end_with_parent(parent: int) -> None:
    """This process gets SIGTERM when its parent dies, however that dies: nobody keeps ports that nobody watches."""
    _call(ctypes.CDLL(None, use_errno=True).prctl, _PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit(0)


def _call(function: Callable[..., int], *arguments: object) -> None:
    if function(*arguments) != 0:
        number = ctypes.get_errno()
        raise UserError(f"privileges could not be dropped: {os.strerror(number)}")
