"""What the admin plane is made of: everything it reads, writes or asks comes in here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bootstrapper import __version__
from bootstrapper.cluster.model import Cluster, Machine
from bootstrapper.cluster.plan import Changes
from bootstrapper.errors import Problem
from bootstrapper.state.store import Store


@dataclass(frozen=True, slots=True)
class Checked:
    """A description's text, looked at."""

    cluster: Cluster | None
    "None: it has problems."
    problems: tuple[Problem, ...] = ()
    advice: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """What `status` says of the server beside the description."""

    version: str = __version__
    interface: str = ""
    address: str = ""
    listens: str | None = None
    "ADDRESS:PORT beside the Unix socket; None: nowhere."
    assets: str = ""


@dataclass(frozen=True)
class AdminParts:
    cluster: Callable[[], Cluster]
    "The description in force."
    store: Store
    description: Path
    "The admin's file."
    state: Path
    "The state directory: certificates are listed from it."
    check: Callable[[str], Checked]
    "As `bootstrapper check`, templates included; raises nothing."
    render: Callable[[str, Cluster, Machine], str]
    "(output, cluster, machine) -> its public text: secrets are left out, never read. Raises UserError."
    plan: Callable[[Cluster, Cluster], Changes]
    "(old, new) -> what the new description does to each machine, its configuration compared."
    missing_assets: Callable[[Cluster], Mapping[str, tuple[str, ...]]]
    "MAC -> names below `/assets/` that it needs and that are not there."
    now: Callable[[], float]
    "Wall clock, seconds."
    wait: Callable[[float], object]
    "Sleep so many seconds; for event streams."
    random_bytes: Callable[[int], bytes]
    token: str
    "The admin's token, from STATE/admin.token."
    hosts: frozenset[str] = frozenset()
    "Names and addresses, besides loopback's, that a browser may reach this by; others are refused (DNS rebinding)."
    facts: Facts = Facts()
