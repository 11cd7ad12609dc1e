"""Command-line flags: ours and the admin's put together, and written for a unit's ExecStart= or a pod's `command`."""

from __future__ import annotations

from collections.abc import Mapping

from bootstrapper.errors import RenderProblem

Flags = Mapping[str, str]
"Flag without dashes -> value."


def merge_flags(ours: Flags, extra: Flags) -> dict[str, str]:
    """Both, the admin's last. His value replaces ours, save where ours must stand and the flag takes a list."""
    merged = dict(ours)
    for flag, value in extra.items():
        merged[flag] = f"{merged[flag]},{value}" if flag in LISTS and merged.get(flag) else value
    return merged


def list_flags(flags: Flags) -> list[str]:
    return [f"--{flag}={value}" for flag, value in flags.items()]


def quote_exec(words: list[str], about: str) -> str:
    """Words for ExecStart=: systemd expands `%` and `$`, and reads quotes and backslashes (systemd.service(5)).

    Raises RenderProblem, naming `about`, for a control character.
    """
    return " ".join(_quote_word(word, about) for word in words)


def _quote_word(word: str, about: str) -> str:
    if not word.isprintable():
        raise RenderProblem(f"{about}: the flag {word!r} holds a control character")
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if any(char in word for char in " '\"\\;") or not word else escaped


def quote_command(words: list[str]) -> list[str]:
    """Words for a container's `command`, where Kubernetes expands `$(NAME)`."""
    return [word.replace("$(", "$$(") for word in words]


LISTS = frozenset({"controllers", "enable-admission-plugins", "feature-gates"})
"Without NodeRestriction one node could act for another, without bootstrapsigner and tokencleaner tokens live on."
