"""A machine as lines of the description, and putting them there without touching any other line."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import yaml

from bootstrapper.web.admin.faults import Unfit

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
PLAIN = re.compile(r"[a-z][a-z0-9.-]*|[0-9]{1,3}(\.[0-9]{1,3}){3}", re.ASCII)
RESERVED = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})


def write_machine(mac: str, host: str, roles: Sequence[str], ip: str) -> str:
    """YAML, one item of `machines`, without indentation."""
    lines = [f"- mac: {quote(mac)}", f"  host: {quote(host)}"]
    if ip:
        lines.append(f"  ip: {quote(ip)}")
    lines.append(f"  roles: [{', '.join(quote(role) for role in roles)}]")
    return "\n".join(lines) + "\n"


def quote(text: str) -> str:
    """One scalar; anything but a plain word in double quotes, which YAML reads as JSON does."""
    return text if PLAIN.fullmatch(text) and text not in RESERVED else json.dumps(text)


def add_machine(text: str, lines: str) -> str:
    """`text` with `lines` after its last machine. Raises Unfit where the file's form does not allow it."""
    by_hand = Unfit("the machine cannot be put into the file as it is written", "add the lines by hand")
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError:
        raise Unfit("the description is not YAML", "correct it first") from None
    if not isinstance(root, yaml.MappingNode):
        raise by_hand
    machines = next((value for key, value in root.value if key.value == "machines"), None)
    if not isinstance(machines, yaml.SequenceNode) or machines.flow_style or not machines.value:
        raise by_hand
    rows = text.splitlines(keepends=True)
    indent = " " * machines.start_mark.column
    at = _last_line(machines) + 1
    if rows[at - 1 :] and not rows[at - 1].endswith("\n"):
        rows[at - 1] += "\n"
    return "".join([*rows[:at], *(indent + line for line in lines.splitlines(keepends=True)), *rows[at:]])


def _last_line(node: yaml.Node) -> int:
    """0-based index of the last line that belongs to `node`; comments after it do not."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style and node.value:
        return max(_last_line(each) for pair in node.value for each in pair)
    if isinstance(node, yaml.SequenceNode) and not node.flow_style and node.value:
        return max(_last_line(each) for each in node.value)
    end = node.end_mark
    return end.line - 1 if end.column == 0 and end.line > node.start_mark.line else int(end.line)
