"""The table of keys as a JSON schema (draft 2020-12), for editors: `# yaml-language-server: $schema=FILE`.

It checks one value at a time; what depends on several keys, only `check` can tell.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from bootstrapper.cluster.schema import DESCRIPTION, Group, Key, Kind, Many, Named, Word

Json: TypeAlias = dict[str, Any]


def json_schema() -> Json:
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "cluster-desc.yaml",
        "description": "A rack of machines and the Kubernetes cluster it becomes.",
        **_build(DESCRIPTION),
    }


def _build(kind: Kind) -> Json:
    if isinstance(kind, Word):
        return _build_word(kind)
    if isinstance(kind, Many):
        return {"type": "array", "items": _build(kind.item), **({"minItems": kind.least} if kind.least else {})}
    if isinstance(kind, Named):
        return {"type": "object", "additionalProperties": _build(kind.value)}
    required = [key.name for key in kind.keys if key.required]
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {key.name: {**_build(key.kind), "description": describe(key)} for key in kind.keys},
        **({"required": required} if required else {}),
    }


def _build_word(kind: Word) -> Json:
    """An editor sees YAML's values where we see text: 1, true and 2026-01-01 must be let through as what they are."""
    if "type" in kind.json:
        return dict(kind.json)
    if "enum" in kind.json:
        words = kind.json["enum"]
        return {"enum": [*words, *(value for word in words for value in _AS_VALUES.get(word, ()))]}
    if kind.json:
        return {"type": ["string", "number"], **kind.json}
    return {"type": ["string", "number", "boolean"]}


def describe(key: Key) -> str:
    if key.derived:
        return f"{key.help} Default: {key.derived}."
    if key.default in (None, ()):
        return key.help
    default = key.default if isinstance(key.default, str) else ", ".join(key.default or ())
    return f"{key.help} Default: {default}."


def list_keys(group: Group = DESCRIPTION, path: str = "") -> list[tuple[str, Key]]:
    """Every key with its path, `machines[].mac`, `profiles.NAME.roles`."""
    found = []
    for key in group.keys:
        name = f"{path}.{key.name}" if path else key.name
        found.append((name, key))
        inner: Kind = key.kind
        while isinstance(inner, Many | Named):
            name += "[]" if isinstance(inner, Many) else ".NAME"
            inner = inner.item if isinstance(inner, Many) else inner.value
        if isinstance(inner, Group):
            found.extend(list_keys(inner, name))
    return found


_AS_VALUES = {"1": (1,), "off": (False,)}
"What an editor's YAML makes of a word of ours."
