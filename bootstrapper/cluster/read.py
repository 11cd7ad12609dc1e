"""A tree of text and the table of keys to plain typed values, reporting everything that does not fit.

A key with a bad value is present with the value None, so that the checks after it neither trip over it nor blame what
follows from it. Lines are looked up only when there is something to report.
"""

from __future__ import annotations

import re
from collections import abc
from typing import Any, TypeAlias

from bootstrapper.cluster.fields import Expected, find_nearest
from bootstrapper.cluster.schema import Group, Key, Kind, Many, Named, Word
from bootstrapper.cluster.yamltext import Mapping, Node, Scalar, Sequence
from bootstrapper.errors import Problem

Path: TypeAlias = tuple[str | int, ...]
Values: TypeAlias = dict[str, Any]


class Report:
    """Problems in one file, as they are found."""

    def __init__(self, root: Node, file: str) -> None:
        self._root = root
        self._file = file
        self._problems: list[Problem] = []
        self._paths: set[str] = set()
        self._shapeless: set[Path] = set()

    def add(self, path: Path, message: str, hint: str = "", *, line: int | None = None) -> None:
        """One problem. A path is reported once: what a later check says of a value already refused is noise."""
        text = format_path(path)
        if line is None and text in self._paths:
            return
        if any(path[:length] in self._shapeless for length in range(1, len(path))):
            return
        self._paths.add(text)
        where = self.line(path) if line is None else line
        self._problems.append(Problem(where, text, message, hint, self._file))

    def add_shapeless(self, path: Path, message: str, hint: str = "") -> None:
        """A value that is not even a mapping or list: nothing more is said of what it should hold."""
        self.add(path, message, hint)
        self._shapeless.add(path)

    @property
    def count(self) -> int:
        return len(self._problems)

    def line(self, path: Path) -> int:
        return find_line(self._root, path)

    def sorted(self) -> tuple[Problem, ...]:
        return tuple(sorted(self._problems))


def format_path(path: Path) -> str:
    """`machines[2].mac`"""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{clip(part)}" for part in path)
    return text.removeprefix(".")


def find_line(root: Node, path: Path) -> int:
    """Where the path stands, or the nearest thing around it that is written at all."""
    node, line = root, root.line
    for part in path:
        if isinstance(node, Mapping):
            found = next(
                ((key, value) for key, value in node.pairs if isinstance(key, Scalar) and key.text == part), None
            )
            if found is None:
                break
            line, node = found[0].line, found[1]
        elif isinstance(node, Sequence) and isinstance(part, int) and part < len(node.items):
            node = node.items[part]
            line = node.line
        else:
            break
    return line


def clip(text: str) -> str:
    """An admin's text in a message: one short printable line, whatever it holds."""
    shown = _INVISIBLE.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def read_value(kind: Kind, node: Node, path: Path, report: Report) -> Any:
    """The typed value of `node`, or None after reporting."""
    if isinstance(kind, Word):
        return _read_word(kind, node, path, report)
    if isinstance(kind, Many):
        return _read_many(kind, node, path, report)
    if isinstance(kind, Named):
        return _read_named(kind, node, path, report)
    return read_group(kind, node, path, report)


def _read_word(kind: Word, node: Node, path: Path, report: Report) -> Any:
    if not isinstance(node, Scalar):
        report.add(path, f"expected {kind.expects}, found {_describe(node)}", line=node.line)
        return None
    text = "" if node.is_nothing else node.text
    try:
        return kind.parse(text)
    except Expected as error:
        report.add(path, f"expected {error.expectation}, found {_describe(node)}", error.hint)
        return None


def _read_many(kind: Many, node: Node, path: Path, report: Report) -> Any:
    if isinstance(node, Sequence):
        if len(node.items) < kind.least:
            report.add(path, "expected at least one, found an empty list")
            return None
        found = tuple(read_value(kind.item, item, (*path, index), report) for index, item in enumerate(node.items))
        return kind.finish(found) if kind.finish and None not in found else found
    if isinstance(node, Scalar) and node.is_nothing and not kind.least:
        return ()
    single = isinstance(node, Scalar) and not node.is_nothing and isinstance(kind.item, Word)
    hint = f"write [{clip(node.text)}]" if single and isinstance(node, Scalar) else ""
    report.add_shapeless(path, f"expected a list, found {_describe(node)}", hint)
    return None


def _read_named(kind: Named, node: Node, path: Path, report: Report) -> Any:
    values: Values = {}
    for name, value, line in _read_pairs(node, path, report):
        try:
            key = kind.key.parse(name)
        except Expected as error:
            message = f'expected {error.expectation}, found "{clip(name)}"'
            report.add((*path, name), message, error.hint, line=line)
            continue
        if key in values:
            report.add((*path, name), "the same name twice, in another spelling", line=line)
        values[key] = read_value(kind.value, value, (*path, name), report)
    return values


def read_group(group: Group, node: Node, path: Path, report: Report) -> Values:
    """The keys of `group` that are written in `node`; no defaults."""
    values: Values = {}
    known = group.by_name
    for name, value, line in _read_pairs(node, path, report):
        key = known.get(name)
        if key is None:
            hint = _hint_key(name, known) if report.count < MANY else ""
            report.add((*path, name), "unknown key", hint, line=line)
        else:
            values[name] = read_value(key.kind, value, (*path, name), report)
    for key in group.keys:
        if key.required and key.name not in values:
            report.add_shapeless((*path, key.name), f"required, but missing: expected {expects(key.kind)}")
            values[key.name] = None
    return values


def _hint_key(name: str, known: abc.Mapping[str, Key]) -> str:
    other = OTHER_NAMES.get(name.lower())
    if other in known:
        return f"did you mean `{other}`?"
    return NOT_HERE.get(name) or find_nearest(name, known) or f"known here: {', '.join(known)}"


def _read_pairs(node: Node, path: Path, report: Report) -> list[tuple[str, Node, int]]:
    """A mapping's keys as text, each once."""
    if isinstance(node, Scalar) and node.is_nothing:
        return []
    if not isinstance(node, Mapping):
        report.add_shapeless(path, f"expected a mapping of keys to values, found {_describe(node)}")
        return []
    pairs: dict[str, tuple[str, Node, int]] = {}
    for key, value in node.pairs:
        if not isinstance(key, Scalar):
            report.add(path, f"expected a key, found {_describe(key)}", line=key.line)
        elif key.text in pairs:
            first = pairs[key.text][2]
            report.add((*path, key.text), f"repeated key: it already stands on line {first}", line=key.line)
        elif key.text == "<<":
            report.add((*path, key.text), "merge keys are not supported", "use a profile", line=key.line)
        else:
            pairs[key.text] = (key.text, value, key.line)
    return list(pairs.values())


def _describe(node: Node) -> str:
    if isinstance(node, Mapping):
        return "a mapping"
    if isinstance(node, Sequence):
        return "a list"
    return "nothing" if node.is_nothing else f'"{clip(node.text)}"'


def expects(kind: Kind) -> str:
    if isinstance(kind, Word):
        return kind.expects
    return "a list" if isinstance(kind, Many) else "a mapping of keys to values"


def fill_defaults(group: Group, values: Values) -> Values:
    """`values` with the table's defaults for every key that is not written; None (a bad value) stays None."""
    for key in group.keys:
        if isinstance(key.kind, Group):
            inner = values.get(key.name)
            if inner is not None or _has_default(key.kind):
                values[key.name] = fill_defaults(key.kind, inner or {})
        elif key.name not in values and (default := _parse_default(key)) is not None:
            values[key.name] = default
    return values


def _has_default(group: Group) -> bool:
    return any(_has_default(key.kind) if isinstance(key.kind, Group) else key.default is not None for key in group.keys)


def _parse_default(key: Key) -> Any:
    if isinstance(key.kind, Word):
        return None if key.default is None else key.kind.parse(str(key.default))
    if isinstance(key.kind, Many):
        return key.default or ()
    return {}


MANY = 500
"Nobody reads hints beyond so many problems, and looking for what is near takes longest of all."
_INVISIBLE = re.compile("[^\x20-\x7e\xa1-\u2027\u202a-\ud7ff\ue000-\ufeff]")
OTHER_NAMES = {
    "hostname": "host", "name": "host", "address": "ip", "role": "roles", "mac_address": "mac", "gateway": "routers",
    "router": "routers", "gateways": "routers", "nameservers": "dns", "ssh_keys": "ssh_authorized_keys",
    "nodes": "machines", "hosts": "machines", "k8s": "kubernetes", "vlan": "vlan_id", "bond": "bond_mode",
    "cidr": "subnet", "architecture": "arch", "ipmi": "bmc", "disks": "disk",
}  # fmt: skip
"What admins of other systems call a key of ours, so that the hint names it."
NOT_HERE = {
    "profile": "only a machine names a profile: profiles do not build on each other",
    "mac": "only a machine has one", "host": "only a machine has one", "ip": "only a machine has one",
}  # fmt: skip
