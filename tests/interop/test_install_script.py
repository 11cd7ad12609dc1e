"""install.sh from first to last against a server with our kind of certificate, on a loop device.

Real: bash, curl, jq, util-linux, btrfs, the rendered files. Ours for the test: flatcar-install (partitions and file
systems as the image has them), date, systemctl, sleep.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import email.utils
import ipaddress
import itertools
import json
import re
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bootstrapper.boot.links import Links
from bootstrapper.cluster.load import load
from bootstrapper.cluster.model import AssetSource
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.outputs import render_output
from bootstrapper.templating import build_environment

pytestmark = pytest.mark.interop

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = load((ROOT / "cluster-desc.example.yaml").read_text(), "cluster-desc.example.yaml")
CONFIG = b'#cloud-config\nhostname: "node1"\n'

PROGRAMS = {
    "flatcar-install": """
        echo "$@" >>"$LOG/flatcar-install"
        while read -r url rate; do
            curl --silent --fail --limit-rate "$rate" "$url" | cat >/dev/null || exit 1
        done < <(cat "$LOG/fetch" 2>/dev/null)
        [ ! -e "$LOG/break" ] || { echo "the mirror is gone" >&2; exit 1; }
        while getopts "d:V:b:o:k:c:i:" option; do
            case "$option" in
            d) disk="$OPTARG" ;;
            k) cp "$OPTARG" "$LOG/key" ;;
            c | i) cp "$OPTARG" "$LOG/config" ;;
            esac
        done
        sgdisk --clear --new=1:0:+64M --change-name=1:EFI-SYSTEM --new=6:0:+256M --change-name=6:OEM \\
            --new=9:0:+64M --change-name=9:ROOT "$disk" >/dev/null
        partx --add "$disk"
        mkfs.btrfs -q -f -L OEM "${disk}p6"
        echo "Success!"
    """,
    "lsblk": """
        case " $* " in
        *" --json "*) /usr/bin/lsblk "$@" "$DISK" | jq '.blockdevices |= map(.type = "disk")' ;;
        *) exec /usr/bin/lsblk "$@" ;;
        esac
    """,
    "date": 'case " $* " in *" -s "*) echo "$@" >>"$LOG/date" ;; *) exec /usr/bin/date "$@" ;; esac',
    "systemctl": 'echo "$@" >>"$LOG/systemctl"; touch "$LOG/rebooted"',
    "hwclock": "exit 0",
    "udevadm": "exit 0",
    "sleep": "exec /usr/bin/sleep 0.05",
    "journalctl": 'printf "kernel: I/O error\\nGET http://10.10.14.253/m/0123456789abcdef/install\\n"',
}


@dataclass
class Server:
    """What the machine plane does, as far as install.sh can see."""

    http_port: int = 0
    https_port: int = 0
    reports: list[dict[str, object]] = field(default_factory=list)
    claims: int = 0
    claim_answers: list[int] = field(default_factory=lambda: [200])
    "Status of each claim in turn; the last one stays."
    refuse_installed: int = 0
    "How often `installed` is answered 503 first."
    offset_s: float = 0
    log: Path = Path()
    report_status: int = 200
    nodes: set[str] = field(default_factory=set)
    "What is answered 200 to a client with a certificate's private key: an API server's."
    queries: list[str] = field(default_factory=list)
    "Of each claim."
    image: bytes = b""
    key: bytes = b""
    "The public key of an image that is the admin's own; by TLS only."
    percent_s: float = 0
    "How long a report of a percentage is on its way."
    on_their_way: int = 0


def make_handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def date_time_string(self, timestamp: float | None = None) -> str:  # type: ignore[override]
            return email.utils.formatdate(time.time() + server.offset_s, usegmt=True)

        def log_message(self, format: str, *args: object) -> None:
            pass

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_GET(self) -> None:
            if self.path == "/healthz":
                return self.answer(200, b"{}")
            if self.path in server.nodes:
                return self.answer(200, b"{}")
            if self.path.endswith(".key.asc"):
                proven = isinstance(self.connection, ssl.SSLSocket) and server.key
                return self.answer(200 if proven else 404, server.key)
            if self.path.startswith("/assets/") and server.image:
                return self.answer(200, server.image)
            path, _, query = self.path.partition("?")
            if path == "/m/TOKEN/config" and isinstance(self.connection, ssl.SSLSocket):
                answers = server.claim_answers
                status = answers[min(server.claims, len(answers) - 1)]
                server.claims += 1
                server.queries.append(query)
                return self.answer(status, CONFIG if status == 200 else b"")
            return self.answer(404, b"")

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path != "/m/TOKEN/report" or not isinstance(self.connection, ssl.SSLSocket):
                return self.answer(404, b"")
            if server.report_status != 200:
                return self.answer(server.report_status, b"")
            if str(body["detail"]).endswith(" % of the image"):
                server.on_their_way += 1
                time.sleep(server.percent_s)
                server.on_their_way -= 1
            if body["step"] == "installed" and server.refuse_installed > 0:
                server.refuse_installed -= 1
                assert not (server.log / "rebooted").exists()
                return self.answer(503, b"")
            server.reports.append(body)
            return self.answer(200, b'{"ok": true}\n')

    return Handler


def make_certificate(directory: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 that is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, key_path = directory / "cert.pem", directory / "key.pem"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return pem, key_path


@contextlib.contextmanager
def serve_plane(kept: Server, pem: Path, key: Path) -> Iterator[None]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    plain = ThreadingHTTPServer(("127.0.0.1", 0), make_handler(kept))
    secure = ThreadingHTTPServer(("127.0.0.1", 0), make_handler(kept))
    secure.socket = context.wrap_socket(secure.socket, server_side=True)
    kept.http_port, kept.https_port = plain.server_address[1], secure.server_address[1]
    for each in (plain, secure):
        threading.Thread(target=each.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        for each in (plain, secure):
            each.shutdown()
            each.server_close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    kept = Server(log=tmp_path / "log")
    with serve_plane(kept, *make_certificate(tmp_path)):
        yield kept


@pytest.fixture
def device(tmp_path: Path) -> Iterator[str]:
    image = tmp_path / "disk.img"
    with image.open("wb") as file:
        file.truncate(11_000_000_000)
    done = subprocess.run(["losetup", "--show", "-fP", str(image)], capture_output=True, text=True, check=True)
    name = done.stdout.strip()
    try:
        yield name
    finally:
        subprocess.run(["partx", "--delete", name], capture_output=True)
        subprocess.run(["losetup", "--detach", name], check=True)


Install = Callable[..., tuple[int, str]]


@pytest.fixture
def install(tmp_path: Path, server: Server, device: str) -> Install:
    """Render for node1, lay the files out as Ignition would, run the script: (status, console)."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (tmp_path / "log").mkdir()
    for name, text in PROGRAMS.items():
        (programs / name).write_text(f"#!/bin/bash\n{text}\n")
        (programs / name).chmod(0o755)
    templates = ROOT / "templates"
    texts = {str(path.relative_to(templates)): path.read_text() for path in templates.rglob("*") if path.is_file()}
    context = Context(
        cluster=EXAMPLE,
        links=Links(IPv4Address("127.0.0.1"), server.http_port, server.https_port),
        environment=build_environment(texts),
        authority_pem=(tmp_path / "cert.pem").read_text(),
        token="TOKEN",
    )

    def run(**changes: object) -> tuple[int, str]:
        made = replace(context, **changes)  # type: ignore[arg-type]
        document = json.loads(render_output("install", made, EXAMPLE.by_host["node1"]).text)
        base = tmp_path / "root"
        for file in document["storage"]["files"]:
            path = base / file["path"].lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(base64.b64decode(file["contents"]["source"].partition("base64,")[2]))
        (base / "run").mkdir(exist_ok=True)
        environment = {
            "PATH": f"{programs}:/usr/bin:/usr/sbin:/bin:/sbin",
            "BOOTSTRAPPER_BASE": str(base),
            "LOG": str(tmp_path / "log"),
            "DISK": device,
        }
        done = subprocess.run(
            ["bash", str(base / "opt/bootstrapper/install.sh")],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=50,
        )  # fmt: skip
        return done.returncode, done.stdout

    return run


def logged(server: Server, name: str) -> list[str]:
    path = server.log / name
    return path.read_text().splitlines() if path.exists() else []


def steps(server: Server) -> list[object]:
    return [report["step"] for report in server.reports]


def test_a_bare_machine_is_installed_and_reboots_when_the_server_knows(
    install: Install, server: Server, device: str, tmp_path: Path
) -> None:
    server.refuse_installed = 2
    server.claim_answers = [503, 200]
    status, console = install()
    assert status == 0, console
    told = [step for step, _ in itertools.groupby(steps(server))]
    assert told == ["clock", "disk", "waits", "config", "image", "installed"]
    assert {report["generation"] for report in server.reports} == {1}
    assert server.reports[0]["detail"] == "the clock is right"
    assert str(server.reports[1]["detail"]).startswith(f"{device} 11 GB")
    assert ", chosen by none given: the only non-removable disk: " in str(server.reports[1]["detail"])
    assert str(server.reports[1]["detail"]).endswith(": it is empty")
    # On a slow disk a report of how far it was may be on its way still when this one is sent.
    assert any(re.fullmatch(r"100 % of the image, in \d+ s", str(report["detail"])) for report in server.reports)
    assert server.reports[-1]["detail"] == f"4593.2.5 on {device}"
    base = f"http://127.0.0.1:{server.http_port}/assets/flatcar/amd64-usr"
    assert logged(server, "flatcar-install") == [
        f"-d {device} -V 4593.2.5 -b {base} -o  -c {tmp_path}/root/run/bootstrapper/config"
    ]
    assert (server.log / "config").read_bytes() == CONFIG
    assert logged(server, "systemctl") == ["reboot"]
    assert not (tmp_path / "root/run/bootstrapper/config").exists()

    # The report arrived but the machine is booted over the network once more: nothing is written twice.
    status, console = install()
    assert status == 0, console
    assert len(logged(server, "flatcar-install")) == 1
    assert "found complete" in str(server.reports[-1]["detail"])
    # Another order is another install, also when its number was given before; and the first one is done by any.
    for times, (generation, order_id) in enumerate([(2, "b2"), (2, "c3")], 2):
        status, console = install(generation=generation, order_id=order_id)
        assert status == 0, console
        assert len(logged(server, "flatcar-install")) == times
    for order_id in ("", "b2", "c3"):
        status, console = install(order_id=order_id)
        assert status == 0, console
        assert "found complete" in str(server.reports[-1]["detail"])
    assert len(logged(server, "flatcar-install")) == 3


def test_the_clock_is_set_before_anything_secure(install: Install, server: Server) -> None:
    server.offset_s = 3 * 86400.0
    status, console = install()
    assert status == 0, console
    assert len(logged(server, "date")) == 1
    assert str(server.reports[0]["detail"]).startswith("the clock was 2592")
    assert str(server.reports[0]["detail"]).endswith(" seconds off and was set (2 days behind)") or str(
        server.reports[0]["detail"]
    ).endswith(" seconds off and was set (3 days behind)")


def test_no_disk_is_waited_for_and_told(install: Install, server: Server, tmp_path: Path) -> None:
    (tmp_path / "bin" / "lsblk").write_text("#!/bin/sh\necho '{\"blockdevices\": []}'\n")
    status, console = install()
    assert status == 1
    assert "no disk yet (try 6)" in console
    assert "this machine has: no disk at all" in str(server.reports[-1]["detail"])
    assert server.claims == 0


def test_a_refused_claim_is_told_and_leads_to_another_boot(install: Install, server: Server) -> None:
    server.claim_answers = [503, 404]
    status, console = install()
    assert status == 1
    assert server.claims == 2
    assert steps(server) == ["clock", "disk", "waits", "failed"]
    assert "refused this machine's configuration (HTTP 404)" in str(server.reports[-1]["detail"])
    assert server.reports[-1]["tail"]
    assert logged(server, "flatcar-install") == []
    assert logged(server, "systemctl") == ["reboot"]
    assert console.index("restarts in about a minute") < console.index("restarting\n")


def test_a_server_that_cannot_answer_yet_is_waited_for_without_end(install: Install, server: Server) -> None:
    """It restarts, waits for etcd, or an admin has the machine on hold."""
    server.claim_answers = [503] * 30 + [500, 502, 200]
    status, console = install()
    assert status == 0, console
    assert server.claims == 33
    told = [str(report["detail"]) for report in server.reports if report["step"] == "waits"]
    assert told == ["no configuration yet (last answer: 503): it asks again"]
    assert console.count("asking again, for as long as it takes") == 32


def test_waits_grow_to_a_minute_and_differ() -> None:
    script = ROOT / "templates/nodes/install/install.sh"
    lines = script.read_text()
    pause = lines[lines.index("pause() {") : lines.index("# Stop here, tell why")]
    text = pause + 'sleep() { echo "$1"; }; for i in {1..400}; do pause 2; pause 64; done'
    done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=True)
    waits = [int(line) for line in done.stdout.split()]
    assert set(waits[0::2]) == {2, 3}
    assert min(waits[1::2]) >= 33 and max(waits[1::2]) <= 65
    assert len(set(waits[1::2])) > 20


def test_somebodys_data_is_kept_and_no_secret_is_fetched(install: Install, server: Server, device: str) -> None:
    subprocess.run(["mkfs.ext4", "-q", device], check=True)
    status, console = install()
    assert status == 1
    assert "ext4 on the whole disk" in str(server.reports[-1]["detail"])
    assert server.claims == 0
    assert logged(server, "systemctl") == []
    status, console = install(wipe=True)
    assert status == 0, console
    assert str(server.reports[3]["detail"]).endswith("its loss was ordered")


def test_a_failed_image_is_told_and_may_be_tried_again(install: Install, server: Server) -> None:
    server.log.mkdir(exist_ok=True)
    (server.log / "break").touch()
    status, console = install()
    assert status == 1
    assert "flatcar-install: the mirror is gone" in str(server.reports[-1]["detail"])
    assert server.reports[-1]["tail"] == "kernel: I/O error\nGET http://10.10.14.253/m/[masked]/install"
    assert logged(server, "systemctl") == []
    (server.log / "break").unlink()
    status, console = install()
    assert status == 0, console


def test_how_far_the_image_is_in_percent(install: Install, server: Server) -> None:
    server.image = bytes(12_000_000)
    url = f"http://127.0.0.1:{server.http_port}/assets/flatcar/amd64-usr/4593.2.5/flatcar_production_image.bin.bz2"
    (server.log / "fetch").write_text(f"{url} 4M\n")
    status, console = install()
    assert status == 0, console
    told = [str(report["detail"]) for report in server.reports if report["step"] == "image"]
    assert told[0].startswith("writing 4593.2.5 from ")
    assert told[-1].startswith("100 % of the image, in ")
    percents = [int(re.fullmatch(r"(\d+) % of the image", each)[1]) for each in told[1:-1]]  # type: ignore[index]
    assert percents
    assert percents == sorted(set(percents))
    assert all(after - before >= 5 for before, after in itertools.pairwise(percents[:-1]))
    assert percents[-1] <= 99


def test_no_report_of_the_image_arrives_after_what_came_of_it(install: Install, server: Server) -> None:
    server.image, server.percent_s = bytes(12_000_000), 1.5
    url = f"http://127.0.0.1:{server.http_port}/assets/flatcar/amd64-usr/4593.2.5/flatcar_production_image.bin.bz2"
    server.log.mkdir(exist_ok=True)
    (server.log / "fetch").write_text(f"{url} 4M\n")
    (server.log / "break").touch()
    status, console = install()
    assert status == 1, console
    deadline = time.monotonic() + 10
    while server.on_their_way and time.monotonic() < deadline:
        time.sleep(0.05)
    assert any(str(report["detail"]).endswith(" % of the image") for report in server.reports)
    assert steps(server)[-1] == "failed"


def test_the_claim_names_the_board(install: Install, server: Server, tmp_path: Path) -> None:
    uuid = tmp_path / "root/sys/class/dmi/id/product_uuid"
    uuid.parent.mkdir(parents=True)
    uuid.write_text("4C4C4544-0042-3510-8048-B4C04F4E4232\n")
    server.claim_answers = [503, 404]
    status, _ = install()
    assert status == 1
    assert server.queries == ["uuid=4C4C4544-0042-3510-8048-B4C04F4E4232"] * 2
    uuid.write_text("$(reboot) & 4C4C\n")
    install()
    assert server.queries[2] == "uuid=eb4C4C"


def test_a_server_of_another_authority_learns_nothing(install: Install, server: Server, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    pem, _ = make_certificate(other)
    status, _console = install(authority_pem=pem.read_text())
    assert status == 1
    assert server.claims == 0
    assert server.reports == []
    assert logged(server, "flatcar-install") == []


def test_rendered_without_a_token_it_does_nothing(install: Install, server: Server) -> None:
    status, console = install(token=None)
    assert status == 1
    assert "rendered for reading" in console
    assert server.reports == []


def test_an_image_of_the_admin_s_own_is_checked_with_its_own_key(server: Server, install: Install) -> None:
    image = "flatcar/amd64-usr/4593.2.5/flatcar_production_image.bin.bz2"
    own = replace(EXAMPLE, assets={image: AssetSource("https://nas/i", None, None, "https://nas/i.sig", "own.asc")})
    status, console = install(cluster=own)
    assert status == 1 and "the key that signs the image cannot be fetched" in console
    assert logged(server, "flatcar-install") == [], "nothing is written that cannot be checked"
    server.key = b"a public key"
    status, console = install(cluster=own)
    assert status == 0, console
    assert " -k " in logged(server, "flatcar-install")[0]
    assert (server.log / "key").read_bytes() == b"a public key"
