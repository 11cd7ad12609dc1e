"""The cluster's keys as machines and this server get them: made when first asked for, kept, made anew when needed."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from bootstrapper.cluster.model import Cluster, Machine, Role
from bootstrapper.errors import UserError
from bootstrapper.nodeconfig.secrets import Pair, Secrets
from bootstrapper.pki.bootstrap_tokens import TokenShelf
from bootstrapper.pki.certificates import (
    Profile,
    PublicKey,
    at_time,
    certificate_pem,
    is_signed_by,
    issue,
    key_pem,
    make_key,
    parse_certificate,
    says_the_same,
)
from bootstrapper.pki.files import locked, make_directory
from bootstrapper.pki.issued import (
    SERVER,
    Issued,
    add_pair,
    forget_issued,
    load_issued,
    restore_issued,
    retire_others,
    save_issued,
)
from bootstrapper.pki.keys import FILE, ClusterKeys, explain, load_keys
from bootstrapper.pki.leaves import Leaf, Signer, find_leaves, find_own_leaf, make_own_profile, make_profile

FRESH_SHARE = 2 / 3
"A pair with less than this share of its life left is not handed out again: a machine renews at 1/3 left."

_NODES = frozenset({Role.MASTER, Role.WORKER, Role.INGRESS})


@dataclass(frozen=True, slots=True)
class _Seen:
    stamp: tuple[int, int]
    keys: ClusterKeys


class ClusterPki:
    """`directory` is `pki/cluster` of the state. Several processes may each have one; they share the directory.

    Every method raises UserError when a file is damaged or the disk fails.
    """

    def __init__(self, directory: Path, cluster: Cluster, now: Callable[[], float]) -> None:
        self.directory = directory
        self.cluster = cluster
        self.now = now
        self.tokens = TokenShelf(directory, now, secrets.choice)
        make_directory(directory)
        with locked(directory):
            keys = load_keys(directory, now())
            self._seen = _Seen(self._find_stamp(), keys)

    @property
    def keys(self) -> ClusterKeys:
        """Read again when a rotation has written them."""
        stamp = self._find_stamp()
        if self._seen.stamp != stamp:
            self._seen = _Seen(stamp, load_keys(self.directory, self.now()))
        return self._seen.keys

    def _find_stamp(self) -> tuple[int, int]:
        path = self.directory / FILE
        try:
            status = path.stat()
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}", explain(self.directory)) from error
        return status.st_mtime_ns, status.st_ino

    def secrets_for(self, machine: Machine) -> Secrets:
        """All that `machine` is given through its claim, by its roles; the same again when it asks again."""
        keys = self.keys
        master = Role.MASTER in machine.roles
        leaves = list(find_leaves(self.cluster, machine))
        return Secrets(
            authorities={signer.value: trust.bundle for signer, trust in keys.authorities.items()},
            pairs=self._pairs(machine.mac, [(leaf, make_profile(leaf, self.cluster, machine)) for leaf in leaves]),
            # Nobody but a master's controller manager signs, and nobody at all with the other authorities' keys.
            authority_keys={"cluster": key_pem(keys.authorities[Signer.CLUSTER].signing.key)} if master else {},
            service_account=Pair(keys.service_account_public, keys.service_account) if master else None,
            bootstrap_token=self.tokens.hand_out(machine.mac).text if machine.roles & _NODES else "",
            encryption_key=keys.encryption_key if master else "",
        )

    def own(self, name: str) -> Pair:
        """A pair of this server's own: `bootstrapper`, `bootstrapper-etcd`, `admin`. KeyError for any other."""
        leaf = find_own_leaf(name)
        return self._pairs(SERVER, [(leaf, make_own_profile(leaf))])[name]

    def bundle(self, signer: Signer) -> str:
        """PEM of what is trusted as `signer`."""
        return self.keys.authorities[signer].bundle

    def mark_claimed(self, machine: Machine) -> None:
        """`machine` was given `secrets_for` by a claim that counts: what it had before that renews nothing any more."""
        self._change_all(machine.mac, lambda issued: retire_others(issued, self.now()))

    def forget(self, mac: str, at: float) -> None:
        """An admin had the machine forgotten at `at`: what it had then renews nothing any more, and its token is gone.

        Its serial numbers stay: a certificate that is not known would count as newer than our state. What it was given
        since, by a claim, is as good as if this had been done at once; doing it twice changes nothing more.
        """
        self.tokens.forget(mac, at)
        self._change_all(mac, lambda issued: forget_issued(issued, at))

    def restore(self, mac: str) -> None:
        """An admin released the machine that was forgotten: its certificates renew again."""
        self._change_all(mac, restore_issued)

    def _change_all(self, mac: str, change: Callable[[Issued], Issued]) -> None:
        with locked(self.directory):
            kept = load_issued(self.directory, mac)
            after = {name: change(issued) for name, issued in kept.items()}
            if after != kept:
                save_issued(self.directory, mac, after)

    def sign(self, leaf: Leaf, profile: Profile, public: PublicKey) -> x509.Certificate:
        """By the authority that signs now. Who may have it, the caller has decided."""
        return issue(self.keys.authorities[leaf.signer].signing, profile, public, at_time(self.now()))

    def _pairs(self, owner: str, wanted: Iterable[tuple[Leaf, Profile]]) -> dict[str, Pair]:
        with locked(self.directory):
            kept = load_issued(self.directory, owner)
            pairs, fresh = {}, {}
            for leaf, profile in wanted:
                issued = kept.get(leaf.name, Issued())
                if not self._is_good(issued, leaf, profile):
                    key = make_key()
                    certificate = self.sign(leaf, profile, key.public_key())
                    issued = add_pair(issued, certificate, certificate_pem(certificate), key_pem(key), self.now())
                    fresh[leaf.name] = issued
                pairs[leaf.name] = Pair(issued.certificate, issued.key)
            if fresh:
                save_issued(self.directory, owner, kept | fresh)
            return pairs

    def _is_good(self, issued: Issued, leaf: Leaf, profile: Profile) -> bool:
        """Whether a kept pair can be handed out as it is."""
        if not issued.certificate:
            return False
        certificate = parse_certificate(issued.certificate)
        whole = certificate.not_valid_after_utc - certificate.not_valid_before_utc
        at = at_time(self.now())
        return (
            certificate.not_valid_before_utc <= at
            and certificate.not_valid_after_utc - at > whole * FRESH_SHARE
            and is_signed_by(certificate, self.keys.authorities[leaf.signer].signing.certificate)
            and says_the_same(certificate, profile)
        )
