"""The table of keys as Markdown: the second half of docs/description.md, which a test keeps equal to it."""

from __future__ import annotations

from collections.abc import Iterator

from bootstrapper.cluster.schema import DESCRIPTION, Group, Key, Kind, Many, Named, Word


def reference() -> str:
    seen: dict[int, str] = {}
    return "\n".join(_sections(DESCRIPTION, "", seen))


def _sections(group: Group, path: str, seen: dict[int, str]) -> Iterator[str]:
    """A table for this group, then one for each group in it that has not had its own."""
    yield f"## `{path}`" if path else "## Top level"
    yield ""
    yield "| key | value | default | what it is for |"
    yield "|---|---|---|---|"
    later: list[tuple[str, Group]] = []
    for key in group.keys:
        shape, inner = _shape(key.kind)
        name = f"{path}.{key.name}" if path else key.name
        if inner is not None:
            name += shape
            if id(inner) not in seen:
                seen[id(inner)] = name
                later.append((name, inner))
        yield f"| `{key.name}` | {_value(key.kind, inner, seen)} | {_default(key)} | {_cell(key.help)} |"
    yield ""
    for name, inner in later:
        yield from _sections(inner, name, seen)


def _shape(kind: Kind) -> tuple[str, Group | None]:
    """What is written behind a key's name to reach the group in it: `[]`, `.NAME`."""
    shape = ""
    while isinstance(kind, Many | Named):
        shape += "[]" if isinstance(kind, Many) else ".NAME"
        kind = kind.item if isinstance(kind, Many) else kind.value
    return shape, kind if isinstance(kind, Group) else None


def _value(kind: Kind, inner: Group | None, seen: dict[int, str]) -> str:
    if inner is not None:
        first = seen[id(inner)]
        what = f"keys of [`{first}`](#{_anchor(first)})"
        return f"list: {what}" if isinstance(kind, Many) else f"by name: {what}" if isinstance(kind, Named) else what
    if isinstance(kind, Many):
        return f"list: {_value(kind.item, None, seen)}"
    if isinstance(kind, Named):
        return f"{_value(kind.key, None, seen)}: {_value(kind.value, None, seen)}"
    assert isinstance(kind, Word)
    return _cell(kind.expects)


def _anchor(path: str) -> str:
    """GitHub's rule: letters, digits, dashes and underscores stay."""
    return "".join(sign for sign in path.lower() if sign.isalnum() or sign in "-_")


def _default(key: Key) -> str:
    if key.required:
        return "**required**"
    if key.derived:
        return _cell(key.derived)
    if not key.default:
        return ""
    return f"`{key.default}`" if isinstance(key.default, str) else ", ".join(f"`{word}`" for word in key.default)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
