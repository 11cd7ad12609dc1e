"""A NodeConfig as cloud-config for Flatcar's coreos-cloudinit, which applies it at *every* boot.

Written by hand and not by PyYAML: its emitter takes 10 ms for what takes 0.2 here, and the text is read by people, so
file contents stand as literal blocks. Every other value is a double-quoted scalar in ASCII, in which nothing can end
the quotes, and in which `$` is `\\u0024`: coreos-cloudinit replaces `$public_ipv4` and its like anywhere in the text.
"""

from __future__ import annotations

import base64
import json
import posixpath
import re

import jinja2

from bootstrapper.nodeconfig.model import File, NodeConfig, Unit, User
from bootstrapper.templating import read, render

STAGE = "/run/bootstrapper/first-boot"
"In memory, gone at every boot: where files wait that are copied only to where nothing is yet."
FIRST_BOOT_UNIT = "bootstrapper-first-boot.service"
"""Units that need a `first_boot_only` file name this one in After= and Wants= (not Requires=: under Ignition, which
puts the files in place itself, there is no such unit)."""

START_UNIT = "bootstrapper-start.service"
"""The one unit that coreos-cloudinit starts; it starts the others and waits for none. coreos-cloudinit would: for a
download as long as we are off, for etcd until enough members are up, and after ten minutes, or at the first that fails,
it is stopped and the rest never started."""


def emit_cloud_config(config: NodeConfig, environment: jinja2.Environment, secrets: bool) -> str:
    """The text, `#cloud-config` first. Without `secrets` every secret file is left out."""
    files = [file for file in config.files if secrets or not file.secret]
    units = list(config.units)
    staged = [file for file in files if file.first_boot_only]
    if staged:
        files = [file for file in files if not file.first_boot_only] + _stage(staged, environment)
        text = read(environment, f"nodes/base/{FIRST_BOOT_UNIT}")
        units.insert(0, Unit(FIRST_BOOT_UNIT, text))
    started = [unit.name for unit in units if unit.start or unit.name == FIRST_BOOT_UNIT]
    if started:
        text = render(environment, f"nodes/base/{START_UNIT}.j2", {"units": started})
        units.append(Unit(START_UNIT, text))
    lines = ["#cloud-config"]
    if config.hostname:
        lines.append(f"hostname: {quote(config.hostname)}")
    lines += _core_keys(config.users)
    lines += _users([user for user in config.users if user.name != "core"])
    if files:
        lines.append("write_files:")
        for file in files:
            lines += _file(file)
    if units:
        lines += ["coreos:", "  units:"]
        for unit in units:
            lines += _unit(unit)
    return "\n".join(lines) + "\n"


def quote(text: str) -> str:
    """A double-quoted YAML scalar that holds `text` and nothing that coreos-cloudinit would replace."""
    return _LOW_SURROGATES.sub(_join_surrogates, json.dumps(text)).replace("$", "\\u0024").replace("\x7f", "\\u007f")


def drop_seen(text: str, seen: set[str]) -> str:
    """The text without the files and units that stand in `seen`, word for word; the others are added to it.

    For checking many machines: they share most of what they have, and reading it back is what takes the time.
    """
    kept = []
    for piece in _PIECES.split(text):
        if piece.startswith(" "):
            if piece in seen:
                continue
            seen.add(piece)
        kept.append(piece)
    following = [*kept[1:], ""]
    return "".join(
        piece for piece, after in zip(kept, following, strict=True) if not piece.endswith(":\n") or after[:1] == " "
    )


def _core_keys(users: tuple[User, ...]) -> list[str]:
    keys = [key for user in users if user.name == "core" for key in user.ssh_authorized_keys]
    return ["ssh_authorized_keys:", *(f"  - {quote(key)}" for key in keys)] if keys else []


def _users(users: list[User]) -> list[str]:
    lines = ["users:"] if users else []
    for user in users:
        lines.append(f"  - name: {quote(user.name)}")
        for key, values in (("ssh_authorized_keys", user.ssh_authorized_keys), ("groups", user.groups)):
            if values:
                lines += [f"    {key}:", *(f"      - {quote(value)}" for value in values)]
    return lines


def _file(file: File) -> list[str]:
    lines = [
        f"  - path: {quote(file.path)}",
        f'    permissions: "{file.mode:04o}"',
        f"    owner: {quote(file.owner)}",
    ]
    block = _literal(file.content, 6)
    if block is not None and b"$" not in file.content:
        return [*lines, f"    content: {block}"]
    return [*lines, "    encoding: base64", f'    content: "{base64.b64encode(file.content).decode()}"']


def _unit(unit: Unit) -> list[str]:
    lines = [f"    - name: {quote(unit.name)}"]
    if unit.mask:
        lines.append("      mask: true")
    if unit.enable:
        lines.append("      enable: true")
    if unit.name == START_UNIT:
        lines.append("      command: start")
    if unit.content is not None:
        lines.append(f"      content: {_text(unit.content, 8)}")
    if unit.drop_ins:
        lines.append("      drop_ins:")
        for drop_in in unit.drop_ins:
            lines += [f"        - name: {quote(drop_in.name)}", f"          content: {_text(drop_in.content, 12)}"]
    return lines


def _text(text: str, indent: int) -> str:
    """A unit's text: it has no `encoding`, so what cannot stand as a block is quoted."""
    block = None if _REPLACED.search(text) else _literal(text.encode(), indent)
    return quote(text) if block is None else block


def _literal(content: bytes, indent: int) -> str | None:
    """`content` as a YAML literal block, or None when it would not come back the same."""
    if not _PLAIN.fullmatch(content):
        return None
    text = content.decode("ascii")
    body = text[:-1] if text.endswith("\n") else text
    pad = " " * indent
    return ("|\n" if text.endswith("\n") else "|-\n") + "\n".join(
        pad + line if line else "" for line in body.split("\n")
    )


def _stage(files: list[File], environment: jinja2.Environment) -> list[File]:
    """The files under names of their own in memory, and the script that copies each to where nothing is yet."""
    entries, staged = [], []
    for index, file in enumerate(files):
        user, _, group = file.owner.partition(":")
        path = f"{STAGE}/{index}"
        staged.append(File(path, file.content, 0o600))
        entries.append(
            {
                "path": file.path,
                "directory": posixpath.dirname(file.path),
                "mode": f"{file.mode:04o}",
                "user": user,
                "group": group or user,
                "staged": path,
            }
        )
    script = render(environment, "nodes/base/first-boot.sh.j2", {"files": entries})
    return [*staged, File(f"{STAGE}/place.sh", script.encode(), 0o700)]


def _join_surrogates(match: re.Match[str]) -> str:
    high, low = int(match[1], 16), int(match[2], 16)
    return f"\\U{0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00):08x}"


_PIECES = re.compile(r"^(?=  - path: |    - name: |[^\s#])", re.MULTILINE)
"Where a file, a unit, or a key of the first level begins: contents are indented deeper than any of them."
_LOW_SURROGATES = re.compile(r"\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})")
"JSON writes a character beyond 16 bits as two; YAML knows only one."
_PLAIN = re.compile(rb"[\x21-\x7e](?:[\x20-\x7e\t\n]*[\x21-\x7e])?\n?")
"Printable ASCII that neither starts nor ends with white space, save one end of line: what a block gives back as it is."
_REPLACED = re.compile(r"\$(?:public|private)_ipv[46]")
"What coreos-cloudinit replaces by an address, or by nothing."
