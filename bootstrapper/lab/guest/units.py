"""A very small service manager: runs the units that a configuration brought, as far as the test system can.

Reads systemd's unit files (systemd.unit(5), systemd.service(5)): ordering by After= and Before=, ConditionPathExists=,
oneshot and long-running services, Environment=, EnvironmentFile=, Restart=. Everything else is passed over. A unit
whose program the test system does not have is named and skipped: it would run on the real one.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

DIRECTORIES = ("etc/systemd/system", "run/systemd/system", "usr/lib/systemd/system")
PREFIXES = "-@:+!"
"Before a command (systemd.service(5), table 2); only `-` changes anything here: its failure does not count."


class Unit(NamedTuple):
    name: str
    settings: tuple[tuple[str, str, str], ...]
    "(section, key, value) in the file's order; an empty value clears earlier ones, as in systemd."

    def values(self, section: str, key: str) -> list[str]:
        found: list[str] = []
        for each_section, each_key, value in self.settings:
            if (each_section, each_key) == (section, key):
                found = [*found, value] if value else []
        return found

    def value(self, section: str, key: str, default: str = "") -> str:
        return (self.values(section, key) or [default])[-1]

    def words(self, section: str, key: str) -> set[str]:
        return {word for value in self.values(section, key) for word in value.split()}


def parse_unit(name: str, text: str) -> Unit:
    """One unit's text, its drop-ins appended to it."""
    settings: list[tuple[str, str, str]] = []
    section, pending = "", ""
    for raw in text.splitlines():
        line = raw.strip()
        if pending and line[:1] in "#;" and line:
            continue
        if line.endswith("\\"):
            pending += line[:-1] + " "
            continue
        line, pending = pending + line, ""
        if not line or line[0] in "#;":
            continue
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
        elif "=" in line:
            key, _, value = line.partition("=")
            settings.append((section, key.strip(), value.strip()))
    return Unit(name, tuple(settings))


def order_units(units: Iterable[Unit]) -> list[Unit]:
    """Each after those it names in After= (or that name it in Before=), else in the order given; cycles are cut."""
    waiting = {unit.name: unit for unit in units}
    after: dict[str, set[str]] = {name: unit.words("Unit", "After") & waiting.keys() for name, unit in waiting.items()}
    for name, unit in waiting.items():
        for later in unit.words("Unit", "Before") & waiting.keys():
            after[later].add(name)
    ordered: list[Unit] = []
    while waiting:
        done = {unit.name for unit in ordered}
        ready = [name for name in waiting if after[name] - {name} <= done]
        ordered.append(waiting.pop(ready[0] if ready else next(iter(waiting))))
    return ordered


def find_unit(name: str, root: Path = Path("/")) -> Unit | None:
    for directory in DIRECTORIES:
        path = root / directory / name
        if path.is_file():
            text = path.read_text()
            for drop_in in sorted((root / DIRECTORIES[0] / f"{name}.d").glob("*.conf")):
                text += "\n" + drop_in.read_text()
            return parse_unit(name, text)
    return None


def build_environment(unit: Unit, root: Path = Path("/")) -> dict[str, str]:
    environment = {"PATH": "/usr/bin:/opt/bin", "LANG": "C.UTF-8", "INVOCATION_ID": "lab"}
    for value in unit.values("Service", "Environment"):
        environment.update({pair.partition("=")[0]: pair.partition("=")[2] for pair in shlex.split(value)})
    for value in unit.values("Service", "EnvironmentFile"):
        path = root / value.lstrip("-").lstrip("/")
        if path.is_file():
            lines = (line.strip() for line in path.read_text().splitlines())
            pairs = (line.split("=", 1) for line in lines if "=" in line and line[0] not in "#;")
            environment.update({key: "".join(shlex.split(text)) for key, text in pairs})
        elif not value.startswith("-"):
            raise FileNotFoundError(f"EnvironmentFile {path}")
    return environment


def split_command(text: str, environment: dict[str, str]) -> tuple[list[str], bool]:
    """(words, whether failure counts): systemd's own quoting, `$$`, `${NAME}` within words and `$NAME` as words."""
    prefix = text[: len(text) - len(text.lstrip(PREFIXES))]
    words: list[str] = []
    for word in shlex.split(text[len(prefix) :]):
        if word.startswith("$") and word[1:].isidentifier():
            words += environment.get(word[1:], "").split()
            continue
        for name, value in environment.items():
            word = word.replace("${" + name + "}", value)
        words.append(word.replace("$$", "$").replace("%%", "%"))
    return words, "-" not in prefix


def conditions_hold(unit: Unit, root: Path = Path("/")) -> bool:
    for key, test in (("ConditionPathExists", Path.exists), ("ConditionFileNotEmpty", _not_empty)):
        for value in unit.values("Unit", key):
            path = root / value.lstrip("!|").lstrip("/")
            if test(path) == value.startswith("!"):
                return False
    return True


def start(name: str) -> bool:
    """Start one unit and wait for it if it is a oneshot; says on the console what came of it."""
    unit = find_unit(name)
    if unit is None:
        say(f"unit {name}: not in the test system, skipped")
        return False
    if not name.endswith(".service"):
        say(f"unit {name}: kept, and passed over by the test system")
        return True
    if not conditions_hold(unit):
        say(f"unit {name}: its conditions do not hold, skipped")
        return True
    try:
        return _run_service(unit)
    except (OSError, ValueError) as error:
        say(f"unit {name}: failed: {error}")
        return False


def _run_service(unit: Unit) -> bool:
    environment = build_environment(unit)
    oneshot = unit.value("Service", "Type", "simple") == "oneshot"
    commands = [("ExecStartPre", value) for value in unit.values("Service", "ExecStartPre")]
    commands += [("ExecStart", value) for value in unit.values("Service", "ExecStart")]
    directory = unit.value("Service", "WorkingDirectory", "/").lstrip("-")
    for key, text in commands:
        words, counts = split_command(text, environment)
        if oneshot or key == "ExecStartPre":
            if not _run_until_good(unit, words, environment, directory) and counts:
                return False
        else:
            subprocess.Popen(words, env=environment, cwd=directory, start_new_session=True)
            say(f"unit {unit.name}: started")
    if oneshot:
        say(f"unit {unit.name}: done")
    return True


def _run_until_good(unit: Unit, words: Sequence[str], environment: dict[str, str], directory: str) -> bool:
    tries = 1 if unit.value("Service", "Restart", "no") == "no" else 100
    pause = unit.value("Service", "RestartSec", "1").removesuffix("s")
    for _ in range(tries):
        status = subprocess.run(list(words), env=environment, cwd=directory, check=False).returncode
        if status == 0:
            return True
        say(f"unit {unit.name}: {words[0]} ended with status {status}")
        if tries > 1:
            time.sleep(float(pause) if pause.replace(".", "", 1).isdigit() else 1.0)
    return False


def start_all(names: Sequence[str]) -> None:
    """Start the units in their order; long ones do not hold up what does not come after them."""
    known = [(name, find_unit(name)) for name in names]
    for name, unit in known:
        if unit is None:
            say(f"unit {name}: not in the test system, skipped")
    for unit in order_units(unit for _, unit in known if unit is not None):
        start(unit.name)


def systemctl(arguments: Sequence[str]) -> int:
    """The verbs that configurations use; the others are answered as if they had worked."""
    words = [word for word in arguments if not word.startswith("-")]
    verb, names = (words[0], words[1:]) if words else ("status", [])
    if verb in ("reboot", "poweroff", "halt"):
        say(f"{verb}")
        os.sync()
        return subprocess.run(["busybox", verb, "-f"], check=False).returncode
    if verb in ("start", "restart", "reload-or-restart") or "--now" in arguments:
        results = [start(name if "." in name else f"{name}.service") for name in names]
        return 0 if all(results) else 1
    if verb == "is-system-running":
        print("running")
    return 0


def say(text: str) -> None:
    print(f"lab: {text}", flush=True)


def _not_empty(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


if __name__ == "__main__":
    sys.exit(systemctl(sys.argv[1:]))
