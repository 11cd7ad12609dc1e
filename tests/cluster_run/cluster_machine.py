"""A machine without hardware: a network namespace, a root of its own, and the units generated for it.

Not a boot: there is no systemd here, so a unit is started by running its ExecStart= with its environment. What is
shared with the test computer is its kernel and, read only, the distribution's programs.
"""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import signal
import subprocess
import tarfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from wires import Machine as Wire
from wires import Rack, run, wait_for

from bootstrapper.nodeconfig.model import NodeConfig, Unit

SCRIPT = Path(__file__).parent / "machine_root.sh"
CGROUPS = Path("/sys/fs/cgroup")
CONTROLLERS = ("blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids", "systemd")


class ClusterMachine:
    def __init__(self, rack: Rack, host: str, directory: Path) -> None:
        self.host = host
        self.directory = directory / host
        self.directory.mkdir(parents=True, exist_ok=True)
        self._rack = rack
        self.config = NodeConfig()
        self._started: dict[str, subprocess.Popen[bytes]] = {}
        self._first: subprocess.Popen[bytes] | None = None
        self._init = 0

    def connect(self, address: str) -> None:
        self.wire: Wire = self._rack.machine(self.host, address)

    def power_on(self) -> None:
        """An empty root. Nothing of an earlier one is left."""
        join = "\n".join(f'echo $$ > "{group}/cgroup.procs"' for group in self._make_groups())
        command = shlex.join(
            [
                *self.wire.command("unshare", "--mount", "--pid", "--fork", "--kill-child"),
                "--uts", "--ipc", "--cgroup", "--propagation=private",
                "bash", str(SCRIPT), str(self.directory / "root"), self.host,
                *self._controllers(),
            ]
        )  # fmt: skip
        log = (self.directory / "root.log").open("ab")
        self._first = subprocess.Popen(
            ["bash", "-c", f"{join}\nexec {command}"], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        self._init = wait_for(self._find_init, 10)
        wait_for(lambda: self._is_ready() or self._explain(), 20)

    def _find_init(self) -> int:
        assert self._first is not None and self._first.poll() is None, (self.directory / "root.log").read_text()
        children = Path(f"/proc/{self._first.pid}/task/{self._first.pid}/children").read_text().split()
        # `ip netns exec` becomes `unshare`, whose one child is the machine's first process.
        return int(children[0]) if children and Path(f"/proc/{self._first.pid}/comm").read_text() == "unshare\n" else 0

    def _is_ready(self) -> bool:
        return self.run("test", "-e", "/run/ready", check=False).returncode == 0

    def _explain(self) -> bool:
        assert self._first is not None and self._first.poll() is None, (self.directory / "root.log").read_text()
        return False

    def enter(self, *command: str) -> list[str]:
        return ["nsenter", f"--target={self._init}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup",
                "--root", "--wd", "--", *command]  # fmt: skip

    def run(
        self, *command: str, check: bool = True, data: bytes = b"", timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self._grouped(self.enter(*command)), input=data, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=timeout, check=False,
        )  # fmt: skip
        text = done.stdout.decode(errors="replace")
        assert not check or done.returncode == 0, f"{self.host}: {shlex.join(command)}: {done.returncode}\n{text}"
        return subprocess.CompletedProcess(done.args, done.returncode, text)

    def write(self, files: dict[str, tuple[bytes, int]]) -> None:
        """Path -> (content, mode), at those very paths of this machine's root."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for path, (content, mode) in files.items():
                entry = tarfile.TarInfo(path.lstrip("/"))
                entry.size, entry.mode, entry.mtime = len(content), mode, int(time.time())
                archive.addfile(entry, io.BytesIO(content))
        self.run("tar", "-C", "/", "--no-same-owner", "-xpf", "-", data=buffer.getvalue())

    def install(self, config: NodeConfig) -> None:
        """What the installed system's first boot would write: every generated file."""
        self.config = config
        self.write({file.path: (file.content, file.mode) for file in config.files})

    def wait_for_file(self, path: str, timeout: float = 20) -> None:
        wait_for(lambda: self.run("test", "-e", path, check=False).returncode == 0, timeout)

    def link(self, name: str, target: str) -> None:
        self.run("ln", "-sfn", target, name)

    def start(self, unit: str) -> None:
        """The command and environment that the unit was generated with."""
        found = next(each for each in self.config.units if each.name == unit)
        environment, before, command = self._read_unit(found)
        for each in before:
            self.run("env", *environment, *each)
        self.start_command(unit, "env", *environment, *command)

    def start_command(self, name: str, *command: str) -> None:
        log = (self.directory / f"{name}.log").open("ab")
        self._started[name] = subprocess.Popen(
            self._grouped(self.enter(*command)), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )

    def stop(self, unit: str) -> None:
        child = self._started.pop(unit)
        for pid in self._children_of(child.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(10)
        child.kill()
        child.wait()

    def log(self, unit: str, lines: int = 40) -> str:
        return "\n".join((self.directory / f"{unit}.log").read_text(errors="replace").splitlines()[-lines:])

    def is_up(self, unit: str) -> bool:
        return self._started[unit].poll() is None

    def power_off(self) -> None:
        """At once, and with everything in memory."""
        if self._init:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._init, signal.SIGKILL)
        for child in (*self._started.values(), *([self._first] if self._first else [])):
            child.kill()
            child.wait()
        self._started.clear()
        self._init = 0
        for group in self._groups():
            wait_for(lambda group=group: self._remove(group), 10)

    def _read_unit(self, unit: Unit) -> tuple[list[str], list[list[str]], list[str]]:
        environment: list[str] = []
        before: list[list[str]] = []
        command: list[str] = []
        for line in (unit.content or "").splitlines():
            key, _, value = line.partition("=")
            match key:
                case "Environment":
                    environment += shlex.split(value)
                case "EnvironmentFile":
                    text = self.run("cat", value).stdout
                    lines = [each for each in text.splitlines() if each and not each.startswith("#")]
                    environment += [shlex.split(each)[0] for each in lines]
                case "ExecStartPre":
                    before.append(_words(value))
                case "ExecStart":
                    command = _words(value)
        assert command, f"{unit.name} has no ExecStart="
        return environment, before, command

    def _controllers(self) -> list[str]:
        return [name for name in CONTROLLERS if (CGROUPS / name).is_dir()]

    def _groups(self) -> list[Path]:
        return [CGROUPS / name / f"hl-{self.host}" for name in self._controllers()]

    def _make_groups(self) -> list[Path]:
        for group in self._groups():
            group.mkdir(exist_ok=True)
            for name in ("cpuset.cpus", "cpuset.mems"):
                if (group / name).exists():
                    (group / name).write_text((group.parent / name).read_text())
        return self._groups()

    def _grouped(self, command: Sequence[str]) -> list[str]:
        join = "\n".join(f'echo $$ > "{group}/cgroup.procs"' for group in self._groups())
        return ["bash", "-c", f"{join}\nexec {shlex.join(command)}"]

    @staticmethod
    def _remove(group: Path) -> bool:
        for below in sorted(group.rglob("*/"), reverse=True):
            if below.is_dir():
                with contextlib.suppress(OSError):
                    below.rmdir()
        with contextlib.suppress(OSError):
            group.rmdir()
        return not group.exists()

    @staticmethod
    def _children_of(pid: int) -> list[int]:
        try:
            return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        except FileNotFoundError:
            return []


def _words(value: str) -> list[str]:
    """ExecStart=, unquoted as systemd.service(5) says."""
    return [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(value.lstrip("-+!:@"))]


@contextlib.contextmanager
def kept_settings(*names: str) -> Iterator[None]:
    """Settings of the kernel that kubelets change for the whole computer, as they were before."""
    before = {name: Path("/proc/sys", name).read_text() for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            Path("/proc/sys", name).write_text(value)


def show_listeners(machine: ClusterMachine) -> str:
    return run(*machine.wire.command("ss", "-ltn"))
