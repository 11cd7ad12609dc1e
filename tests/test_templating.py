from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootstrapper.errors import RenderProblem
from bootstrapper.templating import build_environment, escape_ipxe, read, render


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("one\ntwo {{ mispelt }}\n", "templates/t.j2:2: 'mispelt' is undefined (for node1)"),
        ("{{ name.nothing.there }}", "templates/t.j2:1: 'str object' has no attribute 'nothing' (for node1)"),
        ("a\nb\n{{ 1 / 0 }}", "templates/t.j2:3: division by zero (for node1)"),
        ("a\n{{ name | nofilter }}", "templates/t.j2:2: No filter named 'nofilter'."),
        ("{% if name %}\nx", "templates/t.j2:2: Unexpected end of template."),
        (
            "{{ name | word }}",
            "templates/t.j2:1: 'a name' cannot stand in this file: letters, digits and ._:/@+,=- can",
        ),
    ],
)
def test_a_fault_names_the_template_its_line_and_the_machine(text: str, message: str) -> None:
    with pytest.raises(RenderProblem) as caught:
        render(build_environment({"t.j2": text}), "t.j2", {"name": "a name"}, "node1")
    assert caught.value.message.startswith(message)


def test_a_missing_template_says_where_to_look() -> None:
    for function in (lambda: render(build_environment({}), "x.j2", {}), lambda: read(build_environment({}), "x.sh")):
        with pytest.raises(RenderProblem) as caught:
            function()
        assert (caught.value.message.endswith(" is missing"), caught.value.hint) == (
            True, "is --templates the right directory?",
        )  # fmt: skip


def test_a_script_is_read_as_it_is() -> None:
    assert read(build_environment({"x.sh": 'echo "${#list[@]} {{ x }}"\n'}), "x.sh") == 'echo "${#list[@]} {{ x }}"\n'


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_a_shell_word_is_one_word(text: str) -> None:
    made = render(build_environment({"t": "printf %s {{ x | shell }}"}), "t", {"x": text})
    assert subprocess.run(["sh", "-c", made], capture_output=True, timeout=10, check=True).stdout.decode() == text


@given(st.text())
def test_an_ipxe_text_starts_no_setting_and_no_line(text: str) -> None:
    made = escape_ipxe(text)
    assert not set(made) & set('${}\n\r&|;#\\"`')
