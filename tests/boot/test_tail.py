"""The end of a log as it is kept: bounded, harmless, and without keys wherever these stand in it."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from bootstrapper.boot.report import Step
from bootstrapper.boot.report_body import ReportBody, parse_report
from bootstrapper.boot.tail import TAIL_BYTES, clean_line, clean_tail

ELLIPTIC = (
    ec.generate_private_key(ec.SECP256R1())
    .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    .decode()
)
RSA = (
    rsa.generate_private_key(65537, 2048)
    .private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    .decode()
)
TOKEN = "Zb3K-9xQw_7LmN0pRsTuVwXyZ1a2b3c4d5e6f7g8h9i"
SECRETS = {
    "an EC key": ELLIPTIC,
    "an RSA key": RSA,
    "a key on one line": json.dumps(ELLIPTIC),
    "a key in base64": base64.b64encode(ELLIPTIC.encode()).decode(),
    "a key in hex": ELLIPTIC.encode().hex(),
    "kubeconfig": f"    client-key-data: {base64.b64encode(RSA.encode()).decode()}",
    "an address with a token": f"GET http://10.10.14.253/m/{TOKEN}/install",
    "a bootstrap token": "token: abcdef.0123456789abcdef",
    "an encryption key": "secret: 3q2+7wEjRWeJq83vASNFZ4mrze8BI0VniavN7wEjRWc=",
    "a header": "Authorization: Bearer 0123456789abcdef0123",
    "a password": 'password="tiger tiger"',
}


def pieces(secret: str, size: int = 20) -> set[str]:
    """What must not be left of it: every run of so many characters of its lines, headings aside."""
    lines = [line for line in secret.replace("\\n", "\n").splitlines() if "-----" not in line and len(line) >= size]
    words = [word.strip("\"',") for line in lines for word in line.split()]
    return {word[at : at + size] for word in words for at in range(len(word) - size + 1) if "10.10.14.253" not in word}


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_in_a_log_is_masked(name: str) -> None:
    secret = SECRETS[name]
    text = f"kubelet.service: starting\n{secret}\nkubelet.service: exit status 1"
    kept = clean_tail(text)
    assert [piece for piece in pieces(secret) if piece in kept] == []
    assert "kubelet.service: exit status 1" in kept
    assert "masked" in kept


@pytest.mark.parametrize("name", ["an EC key", "an RSA key", "a key in base64"])
def test_nor_is_it_told_where_its_beginning_was_cut_off(name: str) -> None:
    secret = SECRETS[name]
    for cut in range(0, len(secret), 7):
        kept = clean_tail(f"{secret[cut:]}\nexit status 1")
        assert [piece for piece in pieces(secret, 40) if piece in kept] == [], cut
        kept = clean_tail(f"starting\n{secret[: len(secret) - cut]}")
        assert [piece for piece in pieces(secret, 40) if piece in kept] == [], cut


def test_what_is_no_secret_is_left_alone() -> None:
    text = "\n".join(
        [
            "Nov 20 12:00:01 node1 systemd[1]: bootstrapper-download@kubernetes.service: Main process exited",
            "Failed to open /usr/lib/systemd/system/bootstrapper-download@.service: No such file or directory",
            "https://10.10.14.253/assets/flatcar/amd64-usr/4593.2.5/flatcar_production_image.bin.bz2 404",
            "I/O error, dev sda, sector 2048 op 0x1:(WRITE) flags 0x800 phys_seg 1 prio class 2",
            "machine-id 8e0c3b0b-5d2c-4b5e-9e0f-2a6f9b1c7d11, größer, 日本語",
        ]
    )
    assert clean_tail(text) == text


def test_nothing_steers_a_terminal_or_looks_like_another_line() -> None:
    text = "a\x1b[2J\x1b[31mred\x1b]0;title\x07\x9b5m b\x00c\rd\u202eevil\u2028line\r\nnext\x1b"
    assert clean_tail(text) == "ared 5m b c d evil line\nnext"
    assert clean_line("one\nInstalled: all is well\x1b[A", 500) == "one Installed: all is well"


def test_the_last_whole_lines_are_kept() -> None:
    lines = [f"line {number} größer" for number in range(2000)]
    kept = clean_tail("\n".join(lines))
    assert len(kept.encode()) <= TAIL_BYTES
    assert kept.splitlines() == lines[-len(kept.splitlines()) :]
    assert clean_tail("x" * 20_000) == ""


@pytest.mark.parametrize(
    "text", ["a" * 16_000, "token" * 3200, "-----BEGIN A-----" * 900, "-----END " * 1800, "\x1b]" * 8000, "\n" * 16_000]
)
def test_a_hostile_log_is_read_in_no_time(text: str) -> None:
    assert len(clean_tail(text).encode()) <= TAIL_BYTES


def body(**parts: object) -> bytes:
    return json.dumps({"step": "unit", "generation": 1} | parts).encode()


def test_a_report_is_read() -> None:
    told = parse_report(body(detail="kubelet.service: active"))
    assert told == ReportBody(Step.UNIT, 1, "kubelet.service: active", "")
    assert told.level == "info"
    told = parse_report(body(detail="etcd.service: failed", tail="panic:\x1b[1m disk full\n"))
    assert told == ReportBody(Step.UNIT, 1, "etcd.service: failed", "panic: disk full")
    assert told.level == "warning"
    told = parse_report(body(step="failed", detail=f"curl: http://h/m/{TOKEN}/config\nx" + "y" * 600))
    assert told is not None
    assert told.detail == "curl: http://h/m/[masked]/config x" + "y" * 466
    assert told.level == "error"


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{", b"\xff", b'"x"', body(step="reboot"), body(generation="1"), body(generation=True), body(tail=1),
     body(detail=["x"]), b"[" * 5000, body(step=["unit"]), body(step={})],
)  # fmt: skip
def test_a_malformed_report_is_none(data: bytes) -> None:
    assert parse_report(data) is None


@pytest.mark.parametrize(
    "text",
    [
        'password="correct horse battery staple"', "passphrase: staple-horse", "api_key=abcdefgh", "https://admin:staplepw@host/",
        "AWS_SECRET_ACCESS_KEY=abcdefgh", '{"token": "staple staple"}',
    ],
)  # fmt: skip
def test_words_for_secrets_in_other_spellings(text: str) -> None:
    cleaned = clean_tail(text)
    assert not any(word in cleaned for word in ("staple", "abcdefgh")), cleaned
