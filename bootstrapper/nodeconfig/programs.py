"""Which programs the cluster's machines will download, and which of them nobody has told us the hash of."""

from __future__ import annotations

from collections.abc import Mapping

from bootstrapper.cluster.model import Machine, OsFamily
from bootstrapper.errors import Problem
from bootstrapper.nodeconfig.build import build
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.model import RemoteFile
from bootstrapper.nodeconfig.roles.downloads import explain_missing


def list_programs(context: Context) -> Mapping[str, tuple[RemoteFile, tuple[Machine, ...]]]:
    """Name below `/assets` -> a file made from it, and the machines that need it, in the order of the description."""
    found: dict[str, tuple[RemoteFile, list[Machine]]] = {}
    # A thousand machines are of a few kinds, and what is downloaded depends on nothing else.
    kinds: dict[tuple[object, ...], dict[str, RemoteFile]] = {}
    for machine in context.cluster.machines:
        if machine.os.family is OsFamily.FLATCAR:
            kind = (machine.roles, machine.arch, machine.os)
            if kind not in kinds:
                built = build(context.cluster, machine, context)
                kinds[kind] = {file.name: file for file in built.remote_files}
            for name, file in kinds[kind].items():
                found.setdefault(name, (file, []))[1].append(machine)
    return {name: (file, tuple(machines)) for name, (file, machines) in found.items()}


def advise_hashes(context: Context) -> tuple[Problem, ...]:
    """A piece of advice for each file whose hash is unknown: machines that need it stop there and say so."""
    found = []
    for name, (file, machines) in list_programs(context).items():
        if file.sha256 is None:
            message, hint = explain_missing(name)
            hosts = ", ".join(machine.host for machine in machines[:3]) + (", …" if len(machines) > 3 else "")
            found.append(Problem(0, "", f"{message}: needed by {hosts}", hint, context.cluster.file))
    return tuple(found)
