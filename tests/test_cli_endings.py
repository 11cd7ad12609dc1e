"""A verb whose output nobody takes, and one that is told to stop, as shells and scripts see them end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from bootstrapper.cli import Verbs, main

EXAMPLE = str(Path(__file__).parent.parent / "cluster-desc.example.yaml")
FULL = Path("/dev/full")
"A device of the kernel: each write to it fails, as on a full disk. It is opened for writing, never made."
RICH = ["-c", "from rich.console import Console\nfrom bootstrapper.cli import main\n"
        "main.command('say')(lambda: Console().print('x y\\n' * 5000))\nmain()", "say"]  # fmt: skip
LONG, SHORT, HELP = ["schema"], ["check", EXAMPLE], ["--help"]


def name(words: list[str]) -> str:
    return "rich" if words[0] == "-c" else "-".join(words[:2]).replace(EXAMPLE, "EXAMPLE")


def run(words: list[str], **more: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *(words if words[0] == "-c" else ["-m", "bootstrapper", *words])]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=30, check=False, **more)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", [LONG, SHORT, HELP, ["serve", "--help"], RICH], ids=name)
def test_a_full_disk_is_said_in_a_line(words: list[str], unbuffered: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    if not FULL.is_char_device():
        pytest.skip(f"needs {FULL}")
    full = os.open(FULL, os.O_WRONLY)
    try:
        done = run(words, stdout=full)
    finally:
        os.close(full)
    said = "bootstrapper: the output cannot be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, said)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", [LONG, SHORT, HELP, RICH], ids=name)
def test_a_reader_that_has_left_is_no_error_to_talk_of(
    words: list[str], unbuffered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = run(words, stdout=writing)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def ending_by(error: BaseException) -> Result:
    group = Verbs()

    @group.command()
    def verb() -> None:
        raise error

    return CliRunner().invoke(group, ["verb"])


def test_another_oserror_is_not_taken_for_the_outputs() -> None:
    for error in (OSError(28, "No space left on device"), ConnectionResetError(104, "reset")):
        assert ending_by(error).exception is error


def test_a_question_that_is_left_by_ctrl_c_or_answered_with_no(monkeypatch: pytest.MonkeyPatch) -> None:
    group = Verbs()

    def stop(*_: object) -> str:
        raise KeyboardInterrupt

    @group.command()
    @click.option("--stop", "stopped", is_flag=True)
    def verb(stopped: bool) -> None:
        if stopped:  # here, since CliRunner puts its own in this place
            monkeypatch.setattr("click.termui.visible_prompt_func", stop)
        click.confirm("sure?", abort=True)

    said_no = CliRunner().invoke(group, ["verb"], input="n\n")
    assert (said_no.exit_code, "Aborted!" in said_no.stderr) == (1, True)
    left = CliRunner().invoke(group, ["verb", "--stop"])
    assert (left.exit_code, "Aborted!" in left.stderr) == (130, False)


@pytest.mark.loopback
def test_ctrl_c_is_quiet(tmp_path: Path) -> None:
    """`events -f` while it waits for a server's answer."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "admin.sock"))
        listener.listen()
        listener.settimeout(30)
        command = [sys.executable, "-m", "bootstrapper", "events", "-f", "--state", str(tmp_path)]
        # A shell's background job ignores SIGINT, and so would all that it starts, this test's programs too.
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as child:
            try:
                asked, _ = listener.accept()
                with asked:
                    asked.recv(65536)
                    child.send_signal(signal.SIGINT)
                    out, err = child.communicate(timeout=30)
            finally:
                child.kill()
    assert (child.returncode, out, err) == (130, b"", b"")


@pytest.mark.parametrize(
    "words", [["hold", ""], ["hold", " "], ["machines", ""], ["events", ""], ["unknown", ""], ["approve", ""],
              ["move", "", "x"], ["move", "x", ""], ["forget", "", "--yes"], ["reinstall", "", "--yes"]],
    ids=name,
)  # fmt: skip
def test_an_empty_name_is_said_to_be_empty(words: list[str], tmp_path: Path) -> None:
    refused = CliRunner().invoke(main, [*words, "--state", str(tmp_path)])
    assert refused.exit_code == 2
    assert "it is empty: is a variable of your script not set?" in refused.stderr


def test_a_passphrase_that_nobody_types_is_asked_for_as_a_file(tmp_path: Path) -> None:
    """From cron, say."""
    (tmp_path / "rack.backup").write_bytes(b"x")
    words = ["restore", str(tmp_path / "rack.backup"), "--state", str(tmp_path / "new")]
    refused = CliRunner().invoke(main, words, input="")
    assert refused.exit_code == 1
    assert "no passphrase was given" in refused.stderr
    assert "--passphrase-file" in refused.stderr
