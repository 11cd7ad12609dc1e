"""The end of a log, which a machine sends with what went wrong: bounded, harmless to a terminal, and without keys.

A journal holds whatever programs wrote into it. What looks like a key is masked before anything is logged or stored,
rather too much than too little: a digest or a container's id goes with it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

TAIL_BYTES = 8 * 1024
MASK = "[masked]"
BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"They turn text around: a line could look like another one."


def clean_tail(text: str) -> str:
    """Lines of `text`, the last of them when there are too many, with secrets masked."""
    if not text:
        return ""
    lines = [plain(line) for line in ESCAPE.sub("", text).replace("\r\n", "\n").split("\n")]
    masked = mask_secrets("\n".join(lines)).strip("\n")
    data = masked.encode("utf-8", "replace")
    if len(data) <= TAIL_BYTES:
        return data.decode()
    # Whole lines only: the rest of a cut one could be the end of something that was not recognised by it.
    return data[-TAIL_BYTES:].decode("utf-8", "ignore").partition("\n")[2]


def clean_line(text: str, most: int) -> str:
    """One line of a client's, at most `most` characters, with secrets masked."""
    return plain(mask_secrets(plain(ESCAPE.sub("", text))))[:most]


def plain(text: str) -> str:
    """`text` on one line, with nothing that steers a terminal or turns it around."""
    return text if text.isprintable() else _clean_line(text)


def mask_secrets(text: str) -> str:
    for pattern, replacement in SECRETS:
        text = pattern.sub(replacement, text)
    return text


def _clean_line(line: str) -> str:
    return "".join(char if _is_plain(char) else " " for char in line)


def _is_plain(char: str) -> bool:
    if char.isascii():
        return char.isprintable()
    return char not in BIDI and unicodedata.category(char)[0] not in "CZ"


def _mask_run(found: re.Match[str]) -> str:
    """A long run of base64's characters is a secret, unless it is a path or a name of several words."""
    return MASK if any(_is_mixed(part) for part in re.split(r"[/]", found[0])) else found[0]


def _is_mixed(part: str) -> bool:
    """Whether letters of both cases and digits are in one word, as in all but few pieces of random base64."""
    kinds = (str.isupper, str.islower, str.isdigit)
    return len(part) >= 8 and all(any(kind(char) for char in part) for kind in kinds)


ESCAPE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)?|\x1b[@-Z\\-_]?")
"ECMA-48: control sequences, operating system commands, and the rest of the two-byte escapes."

SECRETS: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"-----BEGIN ([A-Z0-9 ]{1,60})-----.*?(?:-----END \1-----|\Z)", re.DOTALL), rf"[\1 {MASK[1:]}"),
    # Its beginning was cut off.
    (re.compile(r"\A(?:.*\n){0,200}?.*-----END [A-Z0-9 ]{1,60}-----"), MASK),
    (re.compile(r"/m/[A-Za-z0-9_%-]{8,}"), f"/m/{MASK}"),
    (re.compile(r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b"), MASK),  # a bootstrap token
    (re.compile(r"(://[^/\s:@]{1,100}:)[^@\s/]{1,200}@"), rf"\1{MASK}@"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}"), rf"\1 {MASK}"),
    (
        re.compile(
            r"""(?i)(?<![\w.-])([\w.-]*(?:passw(?:or)?d|passphrase|secret|token|key[-_]data|(?:private|api|access)[-_]?key)["']?\s*[:=]\s*)(?:"[^"\n]{4,}"|'[^'\n]{4,}'|["']?[^\s"',}]{4,})"""
        ),
        rf"\1{MASK}",
    ),
    (re.compile(r"(?<![\w-])[0-9A-Fa-f]{40,}(?![\w-])"), MASK),
    (re.compile(r"[A-Za-z0-9+/_-]{32,}={0,2}"), _mask_run),
)
"What looks like a secret -> what stands there instead; in this order."
