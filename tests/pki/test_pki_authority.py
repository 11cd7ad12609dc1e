"""The authority and the server certificate, as other programs see them."""

from __future__ import annotations

import stat
import subprocess
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from bootstrapper.errors import UserError
from bootstrapper.pki.authority import load_identity

NAME = "bootstrapper.prod.example.com"
HERE = [IPv4Address("10.10.14.253"), IPv4Address("10.20.0.253")]
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()
DAY = 86400.0


def load(directory, now=NOW, addresses=HERE, name=NAME):
    return load_identity(directory / "pki", name, addresses, now)


def certificate(path):
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_openssl_verifies_it_by_address_and_name(tmp_path):
    identity = load(tmp_path)
    command = ["openssl", "verify", "-x509_strict", "-CAfile", tmp_path / "pki/authority.pem", "-purpose", "sslserver",
               "-attime", str(int(NOW))]  # fmt: skip
    for check in (["-verify_ip", "10.10.14.253"], ["-verify_ip", "10.20.0.253"], ["-verify_hostname", NAME]):
        subprocess.run([*command, *check, identity.certificate], check=True, capture_output=True)
    for check in (["-verify_ip", "10.10.14.1"], ["-verify_hostname", "other.example.com"]):
        assert subprocess.run([*command, *check, identity.certificate], capture_output=True).returncode != 0


def test_cryptography_verifies_it(tmp_path):
    identity = load(tmp_path)
    store = Store([x509.load_pem_x509_certificate(identity.authority_pem.encode())])
    verifier = PolicyBuilder().store(store).time(datetime.fromtimestamp(NOW, UTC))
    verifier.build_server_verifier(x509.IPAddress(HERE[0])).verify(certificate(identity.certificate), [])


def test_it_is_valid_on_a_machine_whose_clock_is_a_day_late(tmp_path):
    identity = load(tmp_path)
    authority = x509.load_pem_x509_certificate(identity.authority_pem.encode())
    for each in (authority, certificate(identity.certificate)):
        assert each.not_valid_before_utc == datetime(2026, 11, 19, 12, tzinfo=UTC)
    assert authority.not_valid_after_utc.year == 2036


def test_files_are_for_the_server_alone(tmp_path):
    load(tmp_path)
    assert stat.S_IMODE((tmp_path / "pki").stat().st_mode) == 0o700
    for path in (tmp_path / "pki").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(path.name for path in (tmp_path / "pki").iterdir()) == [
        "authority.key", "authority.pem", "server.key", "server.pem"]  # fmt: skip


def test_a_restart_keeps_both(tmp_path):
    first = load(tmp_path)
    before = first.certificate.read_bytes()
    second = load(tmp_path, NOW + 200 * DAY)
    assert second.authority_pem == first.authority_pem
    assert second.certificate.read_bytes() == before


@pytest.mark.parametrize(
    "change",
    [
        {"now": NOW + 300 * DAY},
        {"addresses": [*HERE, IPv4Address("10.30.0.253")]},
        {"name": "bootstrapper.lab.example.com"},
    ],
)
def test_the_server_certificate_is_made_anew_when_needed(tmp_path, change):
    first = load(tmp_path)
    before = certificate(first.certificate)
    second = load(tmp_path, **change)
    assert second.authority_pem == first.authority_pem
    assert certificate(second.certificate).serial_number != before.serial_number


@pytest.mark.parametrize("content", [b"", b"garbage", None])
@pytest.mark.parametrize("name", ["server.key", "server.pem"])
def test_a_damaged_server_certificate_is_made_anew(tmp_path, name, content):
    authority = load(tmp_path).authority_pem
    path = tmp_path / "pki" / name
    path.unlink() if content is None else path.write_bytes(content)
    assert load(tmp_path).authority_pem == authority
    assert test_openssl_verifies_it_by_address_and_name(tmp_path) is None


@pytest.mark.parametrize("content", [b"", b"  \n", b"garbage", None])
@pytest.mark.parametrize("name", ["authority.key", "authority.pem"])
def test_a_damaged_authority_stops_the_server(tmp_path, name, content):
    """CVE-2024-47533 (Cobbler): a secret that could not be read became one that everybody knew."""
    load(tmp_path)
    path = tmp_path / "pki" / name
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(UserError, match=name.replace(".", r"\.")) as caught:
        load(tmp_path)
    assert "restore" in caught.value.hint


def test_keys_of_another_authority_stop_the_server(tmp_path):
    load(tmp_path)
    load(tmp_path / "other")
    (tmp_path / "other/pki/authority.key").replace(tmp_path / "pki/authority.key")
    with pytest.raises(UserError, match="is not the certificate of"):
        load(tmp_path)


def test_a_key_that_others_can_read_stops_the_server(tmp_path):
    load(tmp_path)
    (tmp_path / "pki/authority.key").chmod(0o640)
    with pytest.raises(UserError, match="can be read by others") as caught:
        load(tmp_path)
    assert caught.value.hint.startswith("chmod 600 ")


def test_an_authority_that_has_ended_or_not_begun(tmp_path):
    load(tmp_path)
    with pytest.raises(UserError, match="ended on 2036-11-"):
        load(tmp_path, NOW + 11 * 366 * DAY)
    with pytest.raises(UserError, match="it is 1970-01-01 here"):
        load(tmp_path, 0.0)


def test_a_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "pki").write_text("in the way")
    with pytest.raises(UserError, match="pki"):
        load(tmp_path)


def test_the_server_certificate_never_outlives_its_authority(tmp_path):
    identity = load(tmp_path)
    late = NOW + timedelta(days=3600).total_seconds()
    authority = x509.load_pem_x509_certificate(identity.authority_pem.encode())
    assert certificate(load(tmp_path, late).certificate).not_valid_after_utc == authority.not_valid_after_utc
