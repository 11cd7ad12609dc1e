"""What a new description changes, machine by machine: nothing, at once, or only by installing it again. Pure.

Which of a machine's keys is which is `MACHINE_KEYS`. What the rest of the file (versions, other machines' names) does
to a machine shows in its rendered configuration, which the caller compares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum, StrEnum
from typing import Any

from bootstrapper.cluster.model import Cluster, DiskSelector, Machine, Role
from bootstrapper.cluster.show import describe_disk

Compare = Callable[[Machine, Machine], Sequence[str]]
"(old, new) -> what differs in the machine's configuration, a few words each: `/etc/hosts changes`."


class Effect(StrEnum):
    NOTHING = "nothing"
    LIVE = "live"
    "The server acts on it at once; the machine need not be touched."
    REINSTALL = "reinstall"
    "The machine goes on as it is, until it is installed again."
    NEW = "new"
    GONE = "gone"
    "It is not in the new file: it gets nothing any more, and goes on running as it is."


@dataclass(frozen=True, slots=True)
class MachineChange:
    mac: str
    "First MAC; in the new file, where it is there."
    host: str
    effect: Effect
    changes: tuple[str, ...] = ()
    "In words, `ip: 10.0.0.4 -> 10.0.0.5`."


@dataclass(frozen=True, slots=True)
class Changes:
    machines: tuple[MachineChange, ...]
    "In the order of the new file; those that are gone last."
    server: tuple[str, ...]
    "What is not of one machine, a line each; what wants a restart of this server first."
    restarts: tuple[str, ...]


def plan(old: Cluster, new: Cluster, compare: Compare | None = None) -> Changes:
    """`compare` None: of the configurations only the machines' own keys are looked at."""
    met: set[str] = set()
    machines = []
    for machine in new.machines:
        before = next((old.by_mac[mac] for mac in machine.macs if mac in old.by_mac), None)
        if before is None:
            role_names = ", ".join(role.value for role in Role if role in machine.roles)
            machines.append(MachineChange(machine.mac, machine.host, Effect.NEW, (f"roles: {role_names}",)))
        else:
            met.add(before.mac)
            machines.append(_compare_machine(before, machine, compare))
    for before in old.machines:
        if before.mac not in met:
            machines.append(MachineChange(before.mac, before.host, Effect.GONE))
    restarts = tuple(f"{what}: {before} -> {after}" for what, before, after in find_restarts(old, new))
    wanting = {line.partition(":")[0] for line in restarts}
    others = tuple(line for line in _compare_keys("", old, new) if line.partition(":")[0] not in wanting)
    server = (*(f"restart of this server needed for {line}" for line in restarts), *others)
    return Changes(tuple(machines), server, restarts)


def find_restarts(old: Cluster, new: Cluster) -> list[tuple[str, object, object]]:
    """(key, before, after) of what the sockets depend on, which are opened once, with privileges that are gone."""
    pairs = [
        ("network.bootstrapper", old.network.bootstrapper, new.network.bootstrapper),
        ("network.interface", old.network.interface, new.network.interface),
        ("network.dhcp.mode", old.network.dhcp.mode, new.network.dhcp.mode),
    ]
    return [pair for pair in pairs if pair[1] != pair[2]]


def _compare_machine(old: Machine, new: Machine, compare: Compare | None) -> MachineChange:
    effects = {Effect.NOTHING}
    changes: list[str] = []
    for name, effect in MACHINE_KEYS.items():
        before, after = getattr(old, name), getattr(new, name)
        if name == "line" or before == after:
            continue
        effects.add(effect)
        if effect is not Effect.NOTHING:
            changes += _say(name, before, after)
    if old.mac != new.mac:
        changes.append(f"its life goes on under {new.mac}")
    for found in compare(old, new) if compare else ():
        effects.add(Effect.REINSTALL)
        changes.append(found)
    effect = max(effects, key=ORDER.index)
    return MachineChange(new.mac, new.host, effect, tuple(changes))


MACHINE_KEYS: Mapping[str, Effect] = {
    "macs": Effect.LIVE,
    "host": Effect.REINSTALL,
    "ip": Effect.REINSTALL,
    "roles": Effect.REINSTALL,
    "profile": Effect.NOTHING,  # a name; what it brings shows in the other keys
    "uuid": Effect.LIVE,
    "serial": Effect.LIVE,
    "disk": Effect.REINSTALL,
    "data_disk": Effect.REINSTALL,
    "interfaces": Effect.REINSTALL,
    "labels": Effect.LIVE,  # the roles' by the server; those that a kubelet sets itself show in its configuration
    "taints": Effect.REINSTALL,  # a node registers with them
    "os": Effect.REINSTALL,
    "arch": Effect.REINSTALL,
    "console": Effect.REINSTALL,
    "local_boot": Effect.LIVE,
    "bmc": Effect.LIVE,
    "line": Effect.NOTHING,
    "hardware": Effect.NOTHING,  # for advice and the lab
}
"Field of `Machine` -> when a change of it takes effect. One that is missing here is found by a test."

ORDER = (Effect.NOTHING, Effect.LIVE, Effect.REINSTALL, Effect.NEW, Effect.GONE)


def _compare_keys(path: str, old: Any, new: Any) -> Iterator[str]:
    """Each key that differs, but for the machines and what is no key."""
    for field in fields(old):
        if not path and field.name in ("machines", "file", "lines"):
            continue
        before, after = getattr(old, field.name), getattr(new, field.name)
        name = f"{path}.{field.name}" if path else field.name
        if before == after:
            continue
        if is_dataclass(before) and is_dataclass(after):
            yield from _compare_keys(name, before, after)
        else:
            yield from _say(name, before, after)


def _say(name: str, before: Any, after: Any) -> Iterator[str]:
    if isinstance(before, DiskSelector) or isinstance(after, DiskSelector):
        yield f"{name}: {describe_disk(before) if before else 'none'} -> {describe_disk(after) if after else 'none'}"
    elif isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted({*before, *after}, key=str):
            if before.get(key) != after.get(key):
                yield from _say(f"{name}.{key}", before.get(key), after.get(key))
    elif is_dataclass(before) and is_dataclass(after) and type(before) is type(after):
        yield from _compare_keys(name, before, after)
    else:
        yield f"{name}: {put_in_words(before)} -> {put_in_words(after)}"


def put_in_words(value: Any) -> str:
    if value is None or value in ("", (), frozenset()):
        return "none"
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, frozenset):
        return ", ".join(sorted(put_in_words(each) for each in value))
    if isinstance(value, tuple):
        return ", ".join(put_in_words(each) for each in value)
    if is_dataclass(value):
        parts = ((field.name, getattr(value, field.name)) for field in fields(value))
        return " ".join(f"{name} {put_in_words(each)}" for name, each in parts if each not in (None, ()))
    text = str(value)
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"


MOST_CHARACTERS = 100
