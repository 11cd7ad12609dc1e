"""What rendering a machine's texts needs beside the machine, and what comes out."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address

import jinja2

from bootstrapper.boot.links import Links
from bootstrapper.cluster.model import Cluster
from bootstrapper.nodeconfig.asset_lock import AssetLock
from bootstrapper.nodeconfig.placeholders import PLACEHOLDERS
from bootstrapper.nodeconfig.secrets import Secrets


@dataclass(frozen=True, slots=True)
class Context:
    cluster: Cluster
    links: Links
    environment: jinja2.Environment
    authority_pem: str
    "Our authority's certificate, which installers and systems pin."
    token: str | None = None
    "This boot's token, which claims and reports; None: the public text, with every secret left out."
    generation: int = 1
    order_id: str = ""
    "Of the order that opened the generation (`History.order_id`)."
    wipe: bool = False
    "The one-time order to erase a disk that holds somebody's data."
    address: IPv4Address | None = None
    """The address leased to a machine whose entry has none (the claim's): its installed system keeps it static, since
    it must come up with this server off (design.md rule 9). None: unknown here, so it asks DHCP."""
    secrets: Secrets | None = field(default=None, repr=False)
    "What `pki` made for the machine. None: nobody's keys, and placeholders in their place."

    lock: AssetLock = field(default_factory=AssetLock, repr=False)
    "`assets.lock`: the hashes of what machines download."
    require_hashes: bool = False
    "For a claim: a file whose hash nobody has told us is refused, since the machine could never use it."
    etcd_existing: bool = False
    "The member joins a cluster that runs: it was installed before, and has been replaced (`kube.members`)."
    etcd_members: tuple[str, ...] = ()
    "Hosts that are etcd members by now, this one among them; empty: all of the description's."

    @property
    def keys(self) -> Secrets:
        return self.secrets or PLACEHOLDERS


@dataclass(frozen=True, slots=True)
class Output:
    text: str
    content_type: str
