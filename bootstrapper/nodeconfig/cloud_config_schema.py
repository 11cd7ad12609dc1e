"""The keys that Flatcar's coreos-cloudinit accepts, and a check against them.

coreos-cloudinit ignores an unknown key at run time, and `flatcar-install -c` aborts on one; a hyphenated key passes its
own validation and is then ignored. So the emitter's result is held against this table, made from its configuration
structures (reference kubernetes.md 1.6). An unknown key is our fault, found at `check`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

Shape = dict[str, Any] | list[Any] | Callable[[object], str]
"Keys -> shapes; a list's one element's shape; or a check of a value that returns what is wrong with it."


def find_faults(document: object) -> list[str]:
    """What coreos-cloudinit would ignore or refuse, as `path: what is wrong`; empty when nothing is."""
    return list(_faults(document, CLOUD_CONFIG, ""))


def _faults(value: object, shape: Shape, path: str) -> Iterator[str]:
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            yield f"{path or 'document'}: expected a mapping, got {type(value).__name__}"
            return
        for key, each in value.items():
            below = f"{path}.{key}" if path else str(key)
            if key not in shape:
                yield f"{below}: coreos-cloudinit knows no such key"
            else:
                yield from _faults(each, shape[key], below)
    elif isinstance(shape, list):
        if not isinstance(value, list):
            yield f"{path}: expected a list, got {type(value).__name__}"
            return
        for index, each in enumerate(value):
            yield from _faults(each, shape[0], f"{path}[{index}]")
    else:
        fault = shape(value)
        if fault:
            yield f"{path}: {fault}"


def _text(value: object) -> str:
    return "" if isinstance(value, str) else f"expected text, got {type(value).__name__}"


def _flag(value: object) -> str:
    return "" if isinstance(value, bool) else f"expected true or false, got {type(value).__name__}"


def _one_of(*words: str) -> Callable[[object], str]:
    return lambda value: "" if value in words else f"expected one of {', '.join(words)}, got {value!r}"


def _like(pattern: str, what: str) -> Callable[[object], str]:
    compiled = re.compile(pattern)
    return lambda value: "" if isinstance(value, str) and compiled.fullmatch(value) else f"expected {what}"


def _path(value: object) -> str:
    if not isinstance(value, str) or not value.startswith("/"):
        return "expected an absolute path"
    return "lies below /usr, which is read-only" if value.startswith("/usr/") else ""


ENCODINGS = ("base64", "b64", "gz", "gzip", "gz+base64", "gzip+base64", "gz+b64", "gzip+b64")
COMMANDS = ("start", "stop", "restart", "reload", "try-restart", "reload-or-restart", "reload-or-try-restart")

CLOUD_CONFIG: Shape = {
    "ssh_authorized_keys": [_text],
    "hostname": _text,
    "manage_etc_hosts": _one_of("localhost"),
    "users": [
        {
            "name": _text,
            "passwd": _text,
            "ssh_authorized_keys": [_text],
            "gecos": _text,
            "homedir": _text,
            "no_create_home": _flag,
            "primary_group": _text,
            "groups": [_text],
            "no_user_group": _flag,
            "system": _flag,
            "no_log_init": _flag,
            "shell": _text,
        }
    ],
    "write_files": [
        {
            "path": _path,
            "content": _text,
            "encoding": _one_of(*ENCODINGS),
            "owner": _text,
            "permissions": _like(r"0?[0-7]{3,4}", 'octal text, as "0644"'),
        }
    ],
    "coreos": {
        "units": [
            {
                "name": _text,
                "content": _text,
                "enable": _flag,
                "mask": _flag,
                "runtime": _flag,
                "command": _one_of(*COMMANDS),
                "drop_ins": [{"name": _text, "content": _text}],
            }
        ],
        "update": {"reboot_strategy": _one_of("reboot", "off"), "group": _text, "server": _text},
        "oem": {"id": _text, "name": _text, "version_id": _text, "home_url": _text, "bug_report_url": _text},
    },
}
"Without the deprecated keys and sections (`etcd2`, `fleet`, ...), and without those we have no use for."
