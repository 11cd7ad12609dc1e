"""What a client of the network may write, in every field that it has, for tests of where that ends up: never as a
command, a second line, an escape sequence, another metric or a tag."""

from __future__ import annotations

import re

import pytest

MARK = "EVIL7"
HOSTILE = {
    "newline": f"x\n{MARK} y",
    "return": f"x\r\n{MARK}",
    "setting": f"${{{MARK}}}",
    "substitution": f"$({MARK})",
    "backtick": f"`{MARK}`",
    "semicolon": f"; {MARK}",
    "and": f"&& {MARK} || {MARK}",
    "template": f"{{{{ 7*7 }}}}{MARK}{{% x %}}",
    "double": f'" {MARK} "',
    "single": f"' {MARK} '",
    "backslash": f"\\{MARK}\\",
    "shebang": f"\n#!ipxe\n{MARK}",
    "percent": f"%s%n{MARK}%d %(x)s",
    "nul": f"a\0{MARK}",
    "escape": f"\x1b[2J\x1b]0;{MARK}\x07\x9b31m",
    "bidi": f"\u202e{MARK}\u2066",
    "separator": f"a\u2028{MARK}\x85b",
    "words": f"größe 日本 {MARK}",
    "tag": f"<script>{MARK}</script><img src=x onerror=x>",
    "metric": f'"}} 1\nbootstrapper_evil{{x="{MARK}',
    "surrogate": f"\udc80{MARK}",
    "long": MARK * 2000,
    "comment": f"# {MARK} --",
}
"By what it tries to be."
every = pytest.mark.parametrize("kind", HOSTILE)


def is_harmless(text: str) -> bool:
    """One line of plain characters."""
    return text.isprintable() and not re.search("[\u200e\u200f\u202a-\u202e\u2066-\u2069]", text)
