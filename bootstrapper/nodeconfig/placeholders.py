"""What stands where a key would, when nobody's keys are at hand: `render` without a state directory, golden files.

Fixed texts that look like what they stand for and are none of it: nothing that reads them would accept one as a key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bootstrapper.nodeconfig.secrets import Pair, Secrets


class _Each(Mapping[str, Pair]):
    """A pair for whatever leaf is asked for: which machine may have which one is decided in `pki.leaves` alone."""

    def __getitem__(self, name: str) -> Pair:
        return make_placeholder(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def make_placeholder(name: str) -> Pair:
    return Pair(_pem("CERTIFICATE", f"{name}-certificate"), _pem("PRIVATE KEY", f"{name}-key"))


def _pem(kind: str, name: str) -> str:
    return f"-----BEGIN {kind}-----\nplaceholder/{name}\n-----END {kind}-----\n"


PLACEHOLDERS = Secrets(
    authorities={name: _pem("CERTIFICATE", f"{name}-authority") for name in ("cluster", "etcd", "front-proxy")},
    pairs=_Each(),
    authority_keys={"cluster": _pem("PRIVATE KEY", "cluster-authority-key")},
    service_account=Pair(_pem("PUBLIC KEY", "service-account"), _pem("PRIVATE KEY", "service-account-key")),
    bootstrap_token="abcdef.0123456789abcdef",  # noqa: S106 - no token of anybody's
    encryption_key="cGxhY2Vob2xkZXIgcGxhY2Vob2xkZXIgcGxhY2Vob2w=",
)
