"""What `pki` made for one machine, as text: the keys and certificates that its files are made of.

`nodeconfig` is pure and makes no key; who may have which one is `pki.leaves`' table. Without a state directory
(`render`, golden files) placeholders stand in, so that the texts stand still.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Pair:
    certificate: str
    "PEM, the leaf first."
    key: str = field(repr=False)
    "PEM (PKCS #8)."


@dataclass(frozen=True, slots=True)
class Secrets:
    authorities: Mapping[str, str]
    "`cluster`, `etcd`, `front-proxy` -> PEM certificates that are trusted (two while an authority is replaced)."
    pairs: Mapping[str, Pair]
    "Leaf name of `pki.leaves` (`etcd-peer`, `apiserver`) -> what this machine has of it."
    authority_keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    "Masters only: `cluster`'s, which the controller manager signs with."
    service_account: Pair | None = None
    "Masters only: the public key (PEM) as `certificate`, and the signing key."
    bootstrap_token: str = field(default="", repr=False)
    "`id.secret`, for a machine with a kubelet: this machine's own."
    encryption_key: str = field(default="", repr=False)
    "Masters only: base64 of 32 bytes, for Secrets at rest."
