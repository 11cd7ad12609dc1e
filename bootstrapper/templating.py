"""The one Jinja2 environment for what machines receive (`templates/`).

Strict names, so that a misspelt variable is an error and never an empty string; template text comes as a mapping, so
that no room below `cli` opens files. The web pages have Flask's own environment.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping

import jinja2

from bootstrapper.errors import RenderProblem

Templates = Mapping[str, str]
"Name below `templates/` (`boot/boot.ipxe.j2`) -> text; the admin's own files already in front of the built-in ones."


def build_environment(templates: Templates) -> jinja2.Environment:
    """An environment over `templates`.

    Filters: `json`, `shell` (one quoted word), `word` (refuses what a line-based file would read as more than a word),
    `ipxe` (text safe in a script).
    """
    environment = jinja2.Environment(  # noqa: S701 - no HTML is made here; each language has its own filter
        loader=jinja2.DictLoader(dict(templates)),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters["json"] = lambda value: json.dumps(value, ensure_ascii=True)
    environment.filters["shell"] = lambda value: shlex.quote(str(value))
    environment.filters["word"] = require_word
    environment.filters["ipxe"] = escape_ipxe
    return environment


def require_word(value: object) -> str:
    """`value` as it is, for files without quoting: unit files, /etc/hosts, networkd. Raises ValueError for the rest."""
    text = str(value)
    if not re.fullmatch(r"[A-Za-z0-9._:/@+,=-]+", text):
        raise ValueError(f"{text!r} cannot stand in this file: letters, digits and ._:/@+,=- can")
    return text


def escape_ipxe(value: object) -> str:
    """Text that iPXE prints or passes on as it is: nothing that starts a setting, a command or a new line.

    A lone `;` ends a command in iPXE. CVE-2026-46447 (Ironic) was a script injected through a kernel parameter.
    """
    return "".join(char for char in str(value) if char.isalnum() or char in " .,:_-+=/@()[]'!?%")


def render(environment: jinja2.Environment, name: str, variables: Mapping[str, object], about: str = "") -> str:
    """One template as text.

    Raises RenderProblem with the template's name, its line, and `about` (the machine it was rendered for).
    """
    try:
        return environment.get_template(name).render(variables)
    except jinja2.TemplateNotFound as error:
        raise RenderProblem(f"template {error.name} is missing", "is --templates the right directory?") from error
    except jinja2.TemplateSyntaxError as error:
        raise RenderProblem(f"templates/{error.name}:{error.lineno}: {error.message}") from error
    except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
        line = _line_of(error, name)
        raise RenderProblem(f"templates/{name}:{line}: {error}" + (f" (for {about})" if about else "")) from error


def _line_of(error: BaseException, name: str) -> int:
    """The template's line where `error` was raised: Jinja2 rewrites the traceback to name template files."""
    line, traceback = 0, error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename in (name, "<template>"):
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return line


def read(environment: jinja2.Environment, name: str) -> str:
    """A file below `templates/` as it is: for shell scripts, whose `${#...}` Jinja2 would take for a comment."""
    try:
        if environment.loader is None:
            raise jinja2.TemplateNotFound(name)
        return environment.loader.get_source(environment, name)[0]
    except jinja2.TemplateNotFound as error:
        raise RenderProblem(f"template {name} is missing", "is --templates the right directory?") from error
