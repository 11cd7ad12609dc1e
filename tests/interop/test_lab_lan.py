"""The lab's namespace comes and goes, also when the lab was killed, and a running lab's is left alone."""

from __future__ import annotations

import os
import subprocess
import sys
from ipaddress import IPv4Interface
from pathlib import Path

import pytest

from bootstrapper.lab.network import Lan, remove_stale

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]

PROGRAM = """
import subprocess, sys, time
from ipaddress import IPv4Interface
from bootstrapper.lab.network import Lan
with Lan("lan0", IPv4Interface("10.78.0.1/24")) as lan:
    lan.add_tap("t0.0")
    child = subprocess.Popen(lan.inside(["sleep", "60"]))
    print(lan.namespace, child.pid, flush=True)
    time.sleep(60)
"""


def namespaces() -> list[str]:
    listed = subprocess.run(["ip", "netns", "list"], check=True, capture_output=True, text=True).stdout
    return [line.split()[0] for line in listed.splitlines() if line]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_lan_is_gone_when_its_lab_ends() -> None:
    with Lan("lan0", IPv4Interface("10.78.0.1/24")) as lan:
        name = lan.namespace
        assert name in namespaces()
        shown = subprocess.run(
            ["ip", "-n", name, "-4", "addr", "show", "lan0"], check=True, capture_output=True, text=True
        )
        assert "inet 10.78.0.1/24" in shown.stdout
    assert name not in namespaces()


def test_what_a_killed_lab_left_is_removed_and_a_running_one_is_not() -> None:
    killed = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True)
    running = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True)
    try:
        assert killed.stdout is not None
        assert running.stdout is not None
        left, left_pid = killed.stdout.readline().split()
        kept, kept_pid = running.stdout.readline().split()
        killed.kill()
        killed.wait()
        assert left in namespaces()
        assert left in remove_stale()
        assert left not in namespaces()
        assert not is_running(int(left_pid))
        assert kept in namespaces()
        assert is_running(int(kept_pid))
    finally:
        for each in (killed, running):
            each.kill()
            each.wait()
        remove_stale()
    assert kept not in namespaces()
