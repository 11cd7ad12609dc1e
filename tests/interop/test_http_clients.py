"""curl, wget and openssl against the machine plane, as installers use them."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import NamedTuple

import pytest
from http_server import serving
from rack import NODE1_MAC

from bootstrapper.pki.authority import load_identity

pytestmark = pytest.mark.interop
IMAGE = bytes(range(251)) * 40_000


class Plane(NamedTuple):
    http: str
    https: str
    authority: str
    directory: Path


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    directory = tmp_path_factory.mktemp("http")
    release = directory / "assets/flatcar/amd64-usr/4593.2.5"
    release.mkdir(parents=True)
    (release / "flatcar_production_image.bin.bz2").write_bytes(IMAGE)
    (release / "flatcar_production_image.bin.bz2.sig").write_bytes(b"signature")
    identity = load_identity(
        directory / "pki", "bootstrapper.prod.example.com", [IPv4Address("127.0.0.1")], time.time()
    )
    with serving(directory) as port, serving(directory, (identity.certificate, identity.key)) as tls_port:
        authority = str(directory / "pki/authority.pem")
        yield Plane(f"http://127.0.0.1:{port}", f"https://127.0.0.1:{tls_port}", authority, directory)


def run(*command: str) -> subprocess.CompletedProcess[bytes]:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    return subprocess.run(command, capture_output=True, timeout=30, check=False)


def curl(*arguments: str) -> tuple[int, bytes]:
    done = run("curl", "-sS", *arguments)
    return done.returncode, done.stdout


def test_flatcar_install_finds_its_image(plane):
    """It asks `BASE/VERSION/...` with `wget --spider` first, and for the signature as well."""
    base = f"{plane.http}/assets/flatcar/amd64-usr/4593.2.5/flatcar_production_image.bin.bz2"
    for url in (base, f"{base}.sig"):
        assert run("wget", "--spider", "--tries=2", "--timeout=5", url).returncode == 0
    assert run("wget", "-qO-", base).stdout == IMAGE
    assert run("wget", "--spider", "-q", "--tries=1", f"{base}.asc").returncode == 8


@pytest.mark.parametrize("client", ["curl", "wget"])
def test_a_broken_download_is_resumed(plane, tmp_path, client):
    url = f"{plane.http}/assets/flatcar/amd64-usr/4593.2.5/flatcar_production_image.bin.bz2"
    part = tmp_path / "part"
    part.write_bytes(IMAGE[:3_000_000])
    resume = (
        ["curl", "-sS", "-C", "-", "-o", str(part), url] if client == "curl" else ["wget", "-qc", "-O", str(part), url]
    )
    assert run(*resume).returncode == 0
    assert part.read_bytes() == IMAGE


def test_curl_gets_what_has_not_changed_no_second_time(plane, tmp_path):
    url = f"{plane.http}/assets/flatcar/amd64-usr/4593.2.5/flatcar_production_image.bin.bz2"
    tag, out = str(tmp_path / "tag"), str(tmp_path / "out")
    assert curl("--etag-save", tag, "-o", out, "-w", "%{http_code}", url) == (0, b"200")
    assert curl("--etag-compare", tag, "-o", "/dev/null", "-w", "%{http_code}", url) == (0, b"304")


def test_an_installer_claims_and_reports_with_the_pinned_authority(plane):
    script = curl(f"{plane.http}/boot.ipxe?mac={NODE1_MAC}&arch=7")[1].decode()
    token = script.partition("/m/")[2].partition("/")[0]
    pinned = ["--cacert", plane.authority, "--connect-timeout", "5"]

    def report(step: str) -> object:
        body = json.dumps({"step": step, "detail": "from curl", "generation": 1})
        return json.loads(curl(*pinned, "--data-binary", body, f"{plane.https}/m/{token}/report")[1])

    assert report("disk") == {"ok": True}
    assert curl(*pinned, f"{plane.https}/m/{token}/config") == (0, b"cloud-config of node1\n")
    assert report("installed") == {"ok": True}
    assert curl(*pinned, f"{plane.https}/m/{token}/config") == (0, b"not found\n")
    assert b"boots its own disk" in curl(f"{plane.http}/boot.ipxe?mac={NODE1_MAC}&arch=7")[1]


def test_curl_without_our_authority_trusts_nothing(plane):
    assert curl(f"{plane.https}/healthz")[0] == 60


@pytest.mark.parametrize(("version", "works"), [("-tls1_1", False), ("-tls1_2", True), ("-tls1_3", True)])
def test_openssl_speaks_tls_1_2_and_later(plane, version, works):
    address = plane.https.removeprefix("https://")
    command = ["openssl", "s_client", "-connect", address, version, "-CAfile", plane.authority, "-verify_return_error"]
    done = subprocess.run(command, input=b"", capture_output=True, timeout=30, check=False)
    assert (done.returncode == 0) is works


def test_a_clock_is_set_by_the_date_header(plane):
    header = curl("-D", "-", "-o", "/dev/null", f"{plane.http}/healthz")[1].decode()
    (date,) = [line for line in header.splitlines() if line.startswith("Date: ")]
    assert date.endswith(" GMT")
