"""What the machine plane is made of: everything it reads, writes or asks comes in here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jinja2

from bootstrapper.boot.events import Event
from bootstrapper.boot.links import Links
from bootstrapper.cluster.model import Cluster, Machine
from bootstrapper.nodeconfig.asset_lock import AssetLock
from bootstrapper.nodeconfig.context import Context, Output
from bootstrapper.pki.cluster import ClusterPki
from bootstrapper.state.store import Store


@dataclass(frozen=True)
class Parts:
    cluster: Callable[[], Cluster]
    "The description in force."
    store: Store
    environment: jinja2.Environment
    links: Links
    authority_pem: str
    assets: Path
    "The directory behind `/assets/`; it need not exist yet."
    now: Callable[[], float]
    "Wall clock, seconds."
    new_token: Callable[[], str]
    render: Callable[[str, Context, Machine], Output]
    "`nodeconfig.outputs.render_output`."
    record: Callable[[Event], None]
    lock: Callable[[], AssetLock] = AssetLock
    "`assets.lock`, beside the description, as it is now."
    find_waiting: Callable[[str], str] = lambda mac: ""
    "First MAC -> why no install is opened for that machine: what it needs and is not here; empty: all is here."
    require_hashes: bool = False
    "No configuration is handed out that names a file without a known hash (`serve --require all`)."
    pki: ClusterPki | None = None
    "The cluster's keys, in the process that speaks TLS; None: this one has none to hand out."
    process: str = "http"
    "Under this name its counters are kept; each process has its own."
    state: Path | None = None
    "The state directory, for metrics of certificates; None: they are left out."
