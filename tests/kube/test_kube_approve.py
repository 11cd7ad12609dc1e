"""Which certificate requests are approved: a table of what a machine, honest or not, may send."""

from __future__ import annotations

import base64
from ipaddress import IPv4Address
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from hostile import HOSTILE, every, is_harmless
from kube_rack import WORKER, make_rack, make_request

from bootstrapper.kube.approve import Decision, Verdict, decide_request, is_open

RACK = make_rack()
OWNERS = {"abcdef": RACK.by_mac[WORKER]}
CN, ORG = NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME
NODE = [(ORG, "system:nodes"), (CN, "system:node:worker")]
SERVING = {
    "signerName": "kubernetes.io/kubelet-serving",
    "username": "system:node:worker",
    "groups": ["system:nodes", "system:authenticated"],
    "usages": ["digital signature", "server auth"],
}


def decide(request: dict[str, Any]) -> Decision:
    return decide_request(request, OWNERS, RACK.by_host, lambda machine: frozenset({IPv4Address("10.10.14.12")}))


def address(text: str) -> x509.GeneralName:
    return x509.IPAddress(IPv4Address(text))


def broken(request: dict[str, Any]) -> dict[str, Any]:
    """The last byte of the signature is another."""
    lines = base64.b64decode(request["spec"]["request"]).decode().splitlines()
    der = bytearray(base64.b64decode("".join(lines[1:-1])))
    der[-1] ^= 1
    text = x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM)
    request["spec"]["request"] = base64.b64encode(text).decode()
    return request


@pytest.mark.parametrize(
    "request_",
    [
        make_request(),
        make_request(usages=["client auth", "digital signature"]),
        make_request(key=rsa.generate_private_key(65537, 2048)),
        make_request(subject=list(reversed(NODE))),
        make_request(names=[x509.DNSName("worker"), address("10.10.14.12")], **SERVING),
        make_request(names=[address("10.10.14.12")], **SERVING),
    ],
    ids=["as 1.20 asks", "as 1.35 asks", "RSA", "CN first", "serving", "serving by address"],
)
def test_approved(request_: dict[str, Any]) -> None:
    decision = decide(request_)
    assert (decision.verdict, decision.reason) == (Verdict.APPROVE, "worker asks for its own certificate")
    assert decision.machine is RACK.by_mac[WORKER]


DENIED = {
    "another machine's name with that token": (
        make_request("other"),
        "it asks to be CN=system:node:other,O=system:nodes, not O=system:nodes, CN=system:node:worker",
    ),
    "a master's name": (
        make_request("master"),
        "it asks to be CN=system:node:master,O=system:nodes, not O=system:nodes, CN=system:node:worker",
    ),
    "no machine's token": (make_request(token="zzzzzz"), "made with a token that is not, or no longer, a machine's"),
    "an empty token": (make_request(token=""), "made with a token that is not, or no longer, a machine's"),
    "one more group": (
        make_request(subject=[*NODE, (ORG, "system:masters")]),
        "it asks to be O=system:masters,CN=system:node:worker,O=system:nodes,"
        " not O=system:nodes, CN=system:node:worker",
    ),
    "masters for nodes": (
        make_request(subject=[(ORG, "system:masters"), (CN, "system:node:worker")]),
        "it asks to be CN=system:node:worker,O=system:masters, not O=system:nodes, CN=system:node:worker",
    ),
    "two names": (
        make_request(subject=[*NODE, (CN, "system:node:other")]),
        "it asks to be CN=system:node:other,CN=system:node:worker,O=system:nodes,"
        " not O=system:nodes, CN=system:node:worker",
    ),
    "an organizational unit": (
        make_request(subject=[*NODE, (NameOID.ORGANIZATIONAL_UNIT_NAME, "x")]),
        "it asks to be OU=x,CN=system:node:worker,O=system:nodes, not O=system:nodes, CN=system:node:worker",
    ),
    "alternative names": (
        make_request(names=[x509.DNSName("kubernetes.default")]),
        "a client certificate has no alternative names and no extensions",
    ),
    "to be a server as well": (
        make_request(usages=["digital signature", "client auth", "server auth"]),
        "its usages are digital signature, client auth, server auth, not client auth, digital signature",
    ),
    "to sign": (
        make_request(usages=["digital signature", "client auth", "cert sign"]),
        "its usages are digital signature, client auth, cert sign, not client auth, digital signature",
    ),
    "any usage": (make_request(usages=["any"]), "its usages are any, not client auth, digital signature"),
    "no usage": (make_request(usages=None), "its usages are , not client auth, digital signature"),
    "a weak key": (
        make_request(key=rsa.generate_private_key(65537, 1024)),
        "its key is neither EC, Ed25519 nor RSA of 2048 bits",
    ),
    "another's key": (broken(make_request()), "its signature is not by its key"),
    "not in the group": (make_request(groups=["system:authenticated"]), "its user is not in system:bootstrappers"),
    "not a request": (make_request(request="aGVsbG8="), "it is not a PKCS #10 request"),
    "not base64": (make_request(request="\u2620"), "it is not a PKCS #10 request"),
    "nothing": (make_request(request=""), "it is not a PKCS #10 request"),
    "serving another's name": (
        make_request(names=[x509.DNSName("master")], **SERVING),
        "master is not a name or an address of worker",
    ),
    "serving another's address": (
        make_request(names=[address("10.10.14.250")], **SERVING),
        "10.10.14.250 is not a name or an address of worker",
    ),
    "serving a wildcard": (
        make_request(names=[x509.DNSName("*")], **SERVING),
        "* is not a name or an address of worker",
    ),
    "serving a URI": (
        make_request(names=[x509.UniformResourceIdentifier("spiffe://x")], **SERVING),
        "its alternative names are not only host names and addresses",
    ),
    "serving no name": (make_request(**SERVING), "a serving certificate needs alternative names, and nothing else"),
    "serving as another node": (
        make_request("master", names=[x509.DNSName("worker")], **SERVING),
        "it asks to be CN=system:node:master,O=system:nodes, not O=system:nodes, CN=system:node:worker",
    ),
    "serving, a stranger": (
        make_request("ghost", names=[x509.DNSName("ghost")], **SERVING | {"username": "system:node:ghost"}),
        "made by a node that is not in the description",
    ),
    "serving, to be a client": (
        make_request(names=[x509.DNSName("worker")], **SERVING | {"usages": ["digital signature", "client auth"]}),
        "its usages are digital signature, client auth, not digital signature, server auth",
    ),
}


@pytest.mark.parametrize("name", DENIED)
def test_denied(name: str) -> None:
    request, reason = DENIED[name]
    decision = decide(request)
    assert (decision.verdict, decision.reason) == (Verdict.DENY, reason)


@pytest.mark.parametrize(
    "spec",
    [
        {"signerName": "kubernetes.io/kube-apiserver-client"},
        {"signerName": "example.com/ours"},
        {"signerName": None},
        {"username": "system:node:worker"},  # its renewal: the controller manager's
        {"username": "kubernetes-admin"},
        {"signerName": "kubernetes.io/kubelet-serving"},
    ],
)
def test_what_is_for_others_is_left_alone(spec: dict[str, Any]) -> None:
    assert decide(make_request(**spec)).verdict is Verdict.IGNORE


def test_a_reason_holds_no_control_characters() -> None:
    decision = decide(make_request(subject=[(ORG, "system:nodes"), (CN, "a\x1b[31m\nb")]))
    assert decision.verdict is Verdict.DENY
    assert decision.reason.isprintable()


@pytest.mark.parametrize(
    ("conditions", "expected"), [([], True), ([{"type": "Approved"}], False), ([{"type": "Denied"}], False)]
)
def test_only_open_requests_are_answered(conditions: list[dict[str, str]], expected: bool) -> None:
    assert is_open({"status": {"conditions": conditions}}) is expected
    assert is_open({}) is True


@every
def test_a_reason_tells_hostile_text_harmlessly(kind: str) -> None:
    """It goes into the request's condition, the events, the pages, the log."""
    text = HOSTILE[kind].replace("\udc80", "?")[:60].replace("\0", "0")
    ascii_text = text.encode("ascii", "replace").decode()
    for request in (
        make_request(subject=[(ORG, text), (CN, text)]),
        make_request(usages=[text]),
        make_request(names=[x509.DNSName(ascii_text)], **SERVING),
        make_request(names=[x509.UniformResourceIdentifier(ascii_text)], **SERVING),
        make_request(username=f"system:bootstrap:{text}"),
        make_request(groups=[text]),
    ):
        decision = decide(request)
        assert decision.verdict in (Verdict.DENY, Verdict.IGNORE)
        assert is_harmless(decision.reason)
        assert len(decision.reason) < 500
