"""Which certificate requests of kubelets are approved: those that name the machine whose token made them.

Any bearer of any bootstrap token can ask for any node's certificate (kubelet TLS bootstrapping); the controller manager
would approve it. So nobody is bound to its approval but nodes that renew their own, and this decides the rest. A
request that nobody here answers for is left alone: it may be for another approver.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtensionOID, NameOID

from bootstrapper.cluster.model import Machine

CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
SERVING = "kubernetes.io/kubelet-serving"
TOKEN_USER = "system:bootstrap:"  # noqa: S105 - a user name's prefix
NODE_USER = "system:node:"
NODES = "system:nodes"
BOOTSTRAPPERS = "system:bootstrappers"
RSA_BITS = 2048

USAGES = {
    CLIENT: frozenset({"digital signature", "client auth"}),
    SERVING: frozenset({"digital signature", "server auth"}),
}
OPTIONAL_USAGE = "key encipherment"
"Asked for before 1.27, and with RSA keys."


class Verdict(StrEnum):
    APPROVE = "approve"
    DENY = "deny"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True)
class Decision:
    verdict: Verdict
    reason: str
    "Plain words, for the request's condition and the events. Nothing in it comes from the request unescaped."
    machine: Machine | None = None


class Fault(Exception):
    """Why a request that is ours to answer is denied."""


def is_open(request: Mapping[str, Any]) -> bool:
    """Whether nobody has approved or denied it yet."""
    return not any(
        condition.get("type") in ("Approved", "Denied") for condition in request.get("status", {}).get("conditions", ())
    )


def decide_request(
    request: Mapping[str, Any],
    token_owners: Mapping[str, Machine],
    by_host: Mapping[str, Machine],
    find_addresses: Callable[[Machine], frozenset[IPv4Address]],
) -> Decision:
    """What to do with an open request.

    `token_owners` has the id of each token that is in force and its machine; `find_addresses` says what a machine was
    given.
    """
    spec = request.get("spec", {})
    signer, user = spec.get("signerName"), str(spec.get("username", ""))
    if signer == CLIENT and user.startswith(TOKEN_USER):
        machine = token_owners.get(user.removeprefix(TOKEN_USER))
        if machine is None:
            return Decision(Verdict.DENY, "made with a token that is not, or no longer, a machine's")
        return _judge(spec, machine, lambda asked: _check_client(spec, asked))
    if signer == SERVING and user.startswith(NODE_USER):
        machine = by_host.get(user.removeprefix(NODE_USER))
        if machine is None:
            return Decision(Verdict.DENY, "made by a node that is not in the description")
        return _judge(spec, machine, lambda asked: _check_serving(asked, machine, find_addresses(machine)))
    return Decision(Verdict.IGNORE, "not a new node's client certificate, and not a node's serving certificate")


def _judge(
    spec: Mapping[str, Any], machine: Machine, check: Callable[[x509.CertificateSigningRequest], None]
) -> Decision:
    try:
        asked = _parse(spec)
        _check_subject(asked, machine)
        _check_usages(spec)
        check(asked)
    except Fault as fault:
        return Decision(Verdict.DENY, str(fault), machine)
    return Decision(Verdict.APPROVE, f"{machine.host} asks for its own certificate", machine)


def _parse(spec: Mapping[str, Any]) -> x509.CertificateSigningRequest:
    try:
        asked = x509.load_pem_x509_csr(base64.b64decode(spec.get("request", ""), validate=True))
        good = asked.is_signature_valid
        key = asked.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature, x509.InvalidVersion) as error:
        raise Fault("it is not a PKCS #10 request") from error
    if not good:
        raise Fault("its signature is not by its key")
    strong = isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey) or (
        isinstance(key, rsa.RSAPublicKey) and key.key_size >= RSA_BITS
    )
    if not strong:
        raise Fault(f"its key is neither EC, Ed25519 nor RSA of {RSA_BITS} bits")
    return asked


def _check_subject(asked: x509.CertificateSigningRequest, machine: Machine) -> None:
    """Exactly O=system:nodes and CN=system:node:HOST: one more O would be one more group."""
    found = sorted((each.oid.dotted_string, str(each.value)) for each in asked.subject)
    name = f"{NODE_USER}{machine.host}"
    wanted = sorted(
        [(NameOID.COMMON_NAME.dotted_string, name), (NameOID.ORGANIZATION_NAME.dotted_string, NODES)],
    )
    if found != wanted:
        raise Fault(f"it asks to be {_quote(asked.subject.rfc4514_string())}, not O={NODES}, CN={name}")


def _check_usages(spec: Mapping[str, Any]) -> None:
    usages, wanted = list(spec.get("usages") or ()), USAGES[str(spec.get("signerName"))]
    if set(usages) - {OPTIONAL_USAGE} != wanted:
        raise Fault(f"its usages are {_quote(', '.join(map(str, usages)))}, not {', '.join(sorted(wanted))}")


def _check_client(spec: Mapping[str, Any], asked: x509.CertificateSigningRequest) -> None:
    if BOOTSTRAPPERS not in (spec.get("groups") or ()):
        raise Fault(f"its user is not in {BOOTSTRAPPERS}")
    if list(_extensions(asked)):
        raise Fault("a client certificate has no alternative names and no extensions")


def _check_serving(asked: x509.CertificateSigningRequest, machine: Machine, own: frozenset[IPv4Address]) -> None:
    extensions = {each.oid: each.value for each in _extensions(asked)}
    names = extensions.pop(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, None)
    if extensions or not isinstance(names, x509.SubjectAlternativeName):
        raise Fault("a serving certificate needs alternative names, and nothing else")
    for name in names:
        match name:
            case x509.DNSName(value=value) if value == machine.host:
                pass
            case x509.IPAddress(value=IPv4Address() as value) if value in own:
                pass
            case x509.IPAddress(value=IPv4Address() | IPv6Address()) | x509.DNSName():
                raise Fault(f"{_quote(str(name.value))} is not a name or an address of {machine.host}")
            case _:
                raise Fault("its alternative names are not only host names and addresses")


def _extensions(asked: x509.CertificateSigningRequest) -> x509.Extensions:
    try:
        return asked.extensions
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise Fault("its extensions cannot be read") from error


def _quote(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text[:200])
