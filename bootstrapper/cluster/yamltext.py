"""YAML text to a tree of nodes that keep their text and their line.

PyYAML's events are used rather than its values: its values turn the MAC 10:11:22:33:44:55 into an integer and the
version 1.10 into 1.1, and keep only the last of two equal keys. Nothing here knows what the keys mean. Anchors,
aliases and tags are refused, so a small file cannot grow into a big one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import yaml

from bootstrapper.errors import Problem

MAX_BYTES = 10_000_000
MAX_DEPTH = 20

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"libyaml's reader where PyYAML was built with it: about ten times faster, the same events."
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"What YAML 1.2 section 5.1 does not allow; lone surrogates are among it."


class Scalar(NamedTuple):
    line: int
    text: str
    plain: bool
    "Written without quotes."

    @property
    def is_nothing(self) -> bool:
        """`key:` with nothing behind it, or YAML's words for nothing."""
        return self.plain and self.text in ("", "~", "null", "Null", "NULL")


class Sequence(NamedTuple):
    line: int
    items: list[Node]


class Mapping(NamedTuple):
    line: int
    pairs: list[tuple[Node, Node]]
    "As written: a key may be repeated, or may not be a scalar."


Node: TypeAlias = Scalar | Sequence | Mapping


class NotYaml(ValueError):
    """The text has no tree; `problem` says where and why."""

    def __init__(self, line: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.problem = Problem(line, "", message, hint)


def parse_bytes(data: bytes) -> str:
    """A file's bytes as text."""
    if len(data) > MAX_BYTES:
        raise NotYaml(0, f"the file has {len(data)} bytes, expected at most {MAX_BYTES}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise NotYaml(line, f"expected UTF-8 text, found the byte 0x{data[error.start]:02x}") from None


def parse_tree(text: str) -> Node:
    """The one document in `text`; raises NotYaml at the first thing that cannot be read."""
    if len(text) > MAX_BYTES:
        raise NotYaml(0, f"the file has {len(text)} characters, expected at most {MAX_BYTES}")
    text = text.removeprefix("\ufeff")
    if found := _UNPRINTABLE.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise NotYaml(line, f"expected printable text, found the control character U+{ord(found[0]):04X}")
    try:
        return _build(yaml.parse(text, Loader=_LOADER))
    except yaml.MarkedYAMLError as error:
        raise _not_yaml(error) from None
    except yaml.YAMLError as error:
        raise NotYaml(0, f"not readable as YAML: {error}") from None


def _build(events: Iterator[yaml.Event]) -> Node:
    """The tree, with a stack of our own: depth is bounded by MAX_DEPTH, not by Python's recursion limit."""
    root: list[Node] = []
    outer: list[tuple[Node, list[Node]]] = []
    "Per open collection: its node, and the list that was being filled when it began."
    items = root
    documents = 0
    for event in events:
        if isinstance(event, yaml.ScalarEvent):
            line = _line(event)
            if event.anchor or event.tag:
                _refuse_marks(event, line)
            items.append(Scalar(line, event.value, not event.style))
        elif isinstance(event, yaml.CollectionStartEvent):
            line = _line(event)
            if event.anchor or event.tag:
                _refuse_marks(event, line)
            if len(outer) >= MAX_DEPTH:
                raise NotYaml(line, f"nested deeper than {MAX_DEPTH} levels")
            children: list[Node] = []
            node: Node = Sequence(line, children) if isinstance(event, yaml.SequenceStartEvent) else Mapping(line, [])
            items.append(node)
            outer.append((node, items))
            items = children
        elif isinstance(event, yaml.CollectionEndEvent):
            node, parent = outer.pop()
            if isinstance(node, Mapping):
                node.pairs.extend(zip(items[::2], items[1::2], strict=True))
            items = parent
        elif isinstance(event, yaml.AliasEvent):
            raise NotYaml(
                _line(event), f"the alias *{event.anchor} is not supported", "write the value, or use a profile"
            )
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise NotYaml(_line(event), "a second YAML document begins here, expected one per file")
    if not root or (isinstance(root[0], Scalar) and root[0].is_nothing):
        raise NotYaml(0, "the file is empty", "start from cluster-desc.example.yaml")
    return root[0]


def _line(event: yaml.Event) -> int:
    mark = event.start_mark
    return mark.line + 1 if mark else 0


def _refuse_marks(event: yaml.ScalarEvent | yaml.CollectionStartEvent, line: int) -> None:
    if event.anchor:
        raise NotYaml(line, f"the anchor &{event.anchor} is not supported", "use a profile for what machines share")
    if event.tag != "!":  # a lone `!` only says "not resolved", which is how everything is read here
        raise NotYaml(line, f"the tag {event.tag} is not supported", "leave it out: the key says what its value is")


def _not_yaml(error: yaml.MarkedYAMLError) -> NotYaml:
    mark = error.problem_mark or error.context_mark
    problem = error.problem or error.context or "syntax error"
    hint = next((hint for sign, hint in _HINTS if sign in problem), "")
    return NotYaml(mark.line + 1 if mark else 0, f"not readable as YAML: {problem}", hint)


_HINTS = (
    ("'\\t'", "indent with spaces, not tabs"),
    ("cannot start any token", "indent with spaces; quote text that begins with @, `, % or a tab"),
    ("mapping values are not allowed", "quote text that holds a colon and a space; look at the indentation"),
    ("did not find expected key", "look at the indentation of this line and the one before"),
    ("could not find expected ':'", "a key needs a colon behind it"),
)
