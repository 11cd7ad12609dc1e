"""An attacker on the segment: hears every frame of a victim's boot, replays it, tries every URL of the machine plane
with every kind of wrong claim, steals the victim's address; and has none of the planted secrets in the end.

The switch is made a hub, so that the attacker's card really hears all. The server is `bootstrapper serve` as an admin
runs it, with the keys of a whole cluster.
"""

from __future__ import annotations

import base64
import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from canaries import find_secrets, search
from captures import read_streams
from wires import Machine, Rack, need, wait_for

from bootstrapper.state.sqlite import SqliteStore

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]

ROOT = Path(__file__).parents[2]
SERVER, VICTIM, OTHER, EVIL = "10.10.14.253", "10.10.14.11", "10.10.14.12", "10.10.14.66"
VICTIM_MAC, OTHER_MAC, EVIL_MAC = "00:25:90:c0:f7:80", "0c:c4:7a:82:c5:bc", "02:00:00:00:66:66"
BOARD = "4c4c4544-0042-3510-8048-b4c04f4e4232"
RELEASE = "flatcar/amd64-usr/4593.2.5"
FILES = ["flatcar_production_pxe.vmlinuz", "flatcar_production_pxe_image.cpio.gz", "flatcar_production_image.bin.bz2",
         "flatcar_production_image.bin.bz2.sig"]  # fmt: skip
RANDOM = "Zb3K-9xQw_7LmN0pRsTuVwXyZ1a2b3c4d5e6f7g8h9i"
DATE = re.compile(rb"\r\nDate: [^\r]+")
NOT_FOUND = b"not found\n"


def request(path: str, method: str = "GET", headers: Iterable[str] = (), body: bytes = b"") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {SERVER}", "Connection: close", *headers]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def report(step: str, generation: int = 1) -> bytes:
    return json.dumps({"step": step, "detail": "said the attacker", "generation": generation}).encode()


@dataclass
class Scene:
    rack: Rack
    folder: Path
    server: Machine
    victim: Machine
    other: Machine
    evil: Machine
    answers: dict[str, bytes] = field(default_factory=dict)
    "All that the attacker was ever answered."
    tokens: list[str] = field(default_factory=list)
    config: bytes = b""
    "What the victim claimed."

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def log(self) -> Path:
        return self.folder / "serve.log"

    def curl(self, who: Machine, *arguments: str) -> bytes:
        done = subprocess.run(
            who.command("curl", "-s", "--globoff", "--max-time", "20", *arguments), capture_output=True, timeout=30
        )
        return done.stdout

    def pinned(self, who: Machine, *arguments: str) -> bytes:
        return self.curl(who, "--cacert", str(self.folder / "authority.pem"), *arguments)

    def attack(self, sends: dict[str, tuple[int, bool, bytes]], who: Machine | None = None) -> dict[str, bytes]:
        """What each request is answered, the date aside; kept for the search at the end."""
        lines = "".join(
            json.dumps([port, tls, base64.b64encode(data).decode()]) + "\n" for port, tls, data in sends.values()
        )
        command = (who or self.evil).command(sys.executable, str(Path(__file__).parent / "attacker_client.py"), SERVER)
        done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=120, check=True)
        got = [DATE.sub(b"", base64.b64decode(line)) for line in done.stdout.splitlines()]
        answers = dict(zip(sends, got, strict=True))
        self.answers |= {f"the answer to {name}": answer for name, answer in answers.items()}
        return answers

    def events(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def alarms(self) -> list[str]:
        return [
            f"{event.get('step')}: {event.get('detail')}" for event in self.events() if event.get("level") == "error"
        ]

    def boot(self, who: Machine, mac: str, uuid: str = BOARD) -> str:
        """Boot script to token, as iPXE asks for it."""
        script = self.curl(who, f"http://{SERVER}/boot.ipxe?mac={mac}&uuid={uuid}&arch=7").decode()
        found = re.search(r"/m/([A-Za-z0-9_-]{43})/install", script)
        assert found, script
        return found[1]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    need("curl", "ip", "tcpdump", "udhcpc", "chronyd")
    folder = tmp_path_factory.mktemp("attacker")
    (folder / "cluster-desc.yaml").write_text((ROOT / "cluster-desc.example.yaml").read_text())
    release = folder / "state/assets" / RELEASE
    (folder / "state").mkdir(mode=0o700)
    release.mkdir(parents=True)
    for name in FILES:
        (release / name).write_bytes(name.encode() * 100)
    with Rack("le") as rack:
        rack.make_hub("sw0")
        server = rack.machine("srv", f"{SERVER}/24")
        evil = rack.machine("evil", f"{EVIL}/24", mac=EVIL_MAC)
        capture = folder / "heard.pcap"
        evil.start(
            "tcpdump",
            "-i",
            "eth0",
            "-U",
            "--immediate-mode",
            "-w",
            str(capture),
            "-s",
            "0",
            "-B",
            "16384",
            log=folder / "tcpdump.log",
        )
        wait_for(lambda: capture.exists() and "listening on" in (folder / "tcpdump.log").read_text())
        victim = rack.machine("victim", mac=VICTIM_MAC)
        other = rack.machine("other", f"{OTHER}/24", mac=OTHER_MAC)
        made = Scene(rack, folder, server, victim, other, evil)
        child = server.start(
            sys.executable, "-m", "bootstrapper", "serve", str(folder / "cluster-desc.yaml"), "--state",
            str(made.state), "--log", "json", "--require", "boot", log=made.log,
        )  # fmt: skip
        wait_for(lambda: child.poll() is not None or b'"ok": true' in made.curl(evil, f"http://{SERVER}/healthz"))
        assert child.poll() is None, made.log.read_text()
        authority = made.state / "pki/authority.pem"
        (folder / "authority.pem").write_bytes(authority.read_bytes())
        boot_victim(made)
        yield made
        server.stop(child)


def boot_victim(scene: Scene) -> None:
    """DHCP, TFTP, boot script, the installer's system and its claim, its reports; the attacker tries in between."""
    victim = scene.victim
    lease = scene.folder / "lease.sh"
    lease.write_text('#!/bin/sh\n[ "$1" != bound ] || ip address add "$ip/24" dev "$interface"\n')
    lease.chmod(0o755)
    victim.run("busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "10", "-T", "1", "-s", str(lease))
    assert victim.addresses() == [f"{VICTIM}/24"]
    victim.run("curl", "-s", f"tftp://{SERVER}/undionly.kpxe", "-o", "/dev/null")
    # The files are looked at in the background first: until then no install opens.
    script = f"http://{SERVER}/boot.ipxe?mac={VICTIM_MAC}&uuid={BOARD}&arch=7"
    wait_for(lambda: b"/install" in scene.curl(victim, script), why=lambda: scene.curl(victim, script).decode())
    scene.tokens = [scene.boot(victim, VICTIM_MAC)]
    superseded = scene.tokens[0]
    scene.tokens.append(scene.boot(victim, VICTIM_MAC))
    token = scene.tokens[1]
    assert b'"ignition"' in scene.curl(victim, f"http://{SERVER}/m/{token}/install")

    early = scene.attack(
        {
            "the right token from another address, unclaimed": (443, True, request(f"/m/{token}/config?uuid={BOARD}")),
            "the same without TLS": (80, False, request(f"/m/{token}/config?uuid={BOARD}")),
            "the installer's text": (80, False, request(f"/m/{token}/install")),
            "a report": (443, True, request(f"/m/{token}/report", "POST", body=report("failed"))),
            "the older boot's token": (443, True, request(f"/m/{superseded}/config?uuid={BOARD}")),
            "a boot script for the victim": (80, False, request(f"/boot.ipxe?mac={VICTIM_MAC}&uuid={BOARD}&arch=7")),
        }
    )
    script_answer = early.pop("a boot script for the victim")
    assert b"/m/" not in script_answer
    assert {answer.partition(b"\r\n\r\n")[2] for answer in early.values()} == {NOT_FOUND}, early

    url = f"https://{SERVER}/m/{token}"
    assert scene.pinned(victim, f"{url}/config") == NOT_FOUND  # without its board's UUID
    scene.config = scene.pinned(victim, f"{url}/config?uuid={BOARD}")
    assert scene.config.startswith(b"#cloud-config\n")
    for step in ("config", "installed"):
        said = scene.pinned(victim, "--data-binary", report(step).decode(), f"{url}/report")
        assert said == b'{"ok": true}\n', said


def test_the_attacker_hears_the_whole_boot(scene: Scene) -> None:
    """Else the rest of this proves nothing."""
    heard = scene.folder / "heard.pcap"
    wait_for(lambda: scene.tokens[1].encode() in heard.read_bytes())
    assert b"boot.ipxe" in b"".join(read_streams(heard).values())

    def largest_secure_answer() -> int:
        streams = read_streams(heard)
        return max(len(data) for flow, data in streams.items() if flow.source_port == 443 and flow.target == VICTIM)

    wait_for(lambda: largest_secure_answer() > len(scene.config))


def test_the_search_finds_what_is_there(scene: Scene) -> None:
    """The victim's own text has its keys in it: whoever searches that finds them, in base64 as well."""
    secrets = find_secrets(scene.state)
    assert len(secrets) > 20, sorted(secrets)
    assert {"admin.token"} < set(secrets)
    assert any("encryption_key" in name for name in secrets)
    assert any("tokens/" in name for name in secrets)
    finds = search(secrets, {"the claim": scene.config, "coded": base64.b64encode(b"x" + scene.config)})
    assert sum("in the claim" in find for find in finds) >= 5, finds
    assert sum("in coded" in find for find in finds) >= 5, finds


def make_tokens(scene: Scene) -> dict[str, str]:
    """Kinds of wrong claims: the token of each, by name."""
    expired = scene.boot(scene.other, OTHER_MAC)
    connection = sqlite3.connect(scene.state / "state.db", timeout=20)
    connection.execute("UPDATE tokens SET expires_at = 1 WHERE mac = ?", (OTHER_MAC,))
    connection.commit()
    connection.close()
    return {
        "none": "", "random": RANDOM, "short": "x", "long": "x" * 300, "sealed": scene.tokens[1],
        "superseded": scene.tokens[0], "expired": expired, "another machine's": scene.boot(scene.other, OTHER_MAC),
        "an injection": "'%20OR%201=1%20--", "NUL": "%00" * 43, "up": "..", "up, coded": "%2e%2e", "digest": "0" * 64,
    }  # fmt: skip


def test_every_url_with_every_wrong_claim_is_one_404(scene: Scene) -> None:
    tokens = make_tokens(scene)
    tricks = {
        "plain": (), "forwarded": (f"X-Forwarded-For: {VICTIM}", f"X-Real-IP: {VICTIM}", f"Forwarded: for={VICTIM}"),
        "proto": ("X-Forwarded-Proto: https", "X-Forwarded-Ssl: on"), "range": ("Range: bytes=0-10",),
        "mac": (f"X-RHN-Provisioning-MAC-0: eth0 {VICTIM_MAC}",),
    }  # fmt: skip
    sends: dict[str, tuple[int, bool, bytes]] = {}
    for kind, token in tokens.items():
        for name in ("install", "config", "report"):
            path = f"/m/{token}/{name}"
            for tls in (False, True):
                where = f"{'https' if tls else 'http'} {name} with token {kind}"
                port = 443 if tls else 80
                method, body = ("POST", report("installed")) if name == "report" else ("GET", b"")
                sends[where] = (port, tls, request(path + f"?uuid={BOARD}", method, body=body))
                if kind in ("another machine's", "sealed"):
                    for trick, headers in tricks.items():
                        sends[f"{where}, {trick}"] = (port, tls, request(path, method, headers, body))
                    for verb in ("HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND"):
                        if verb != method:
                            sends[f"{where}, {verb}"] = (port, tls, request(path, verb))
    answers = scene.attack(sends)
    whole = {name: answer for name, answer in answers.items() if not name.endswith(", HEAD")}
    heads = {name: answer for name, answer in answers.items() if name.endswith(", HEAD")}
    assert len(whole) > 150
    assert set(whole.values()) == {next(iter(whole.values()))}, explain(whole)
    (same,) = set(whole.values())
    assert same.startswith(b"HTTP/1.1 404 NOT FOUND\r\n")
    assert same.endswith(b"\r\n\r\n" + NOT_FOUND)
    assert set(heads.values()) == {same.removesuffix(NOT_FOUND)}, explain(heads)
    said = scene.log.read_text()
    for token in (*scene.tokens, tokens["another machine's"], tokens["expired"]):
        assert token not in said


def explain(answers: dict[str, bytes]) -> str:
    """One example of each answer."""
    return "\n".join(
        f"{name}: {answer[:300]!r}" for answer, name in {value: key for key, value in answers.items()}.items()
    )


def test_paths_that_lead_out_are_that_404_too(scene: Scene) -> None:
    up = "/".join([".."] * 8)
    coded = up.replace(".", "%2e")
    targets = [str(scene.state).lstrip("/") + "/admin.token", "etc/passwd", "proc/self/environ"]
    ways = (up, coded, coded.replace("/", "%2f"), up.replace("/", "\\"), coded.replace("%", "%25"), f"flatcar/{up}")
    paths = [f"/assets/{way}/{target}" for way in ways for target in targets]
    paths += [f"//{up}/{targets[0]}", f"/assets//{targets[0]}", "/assets/../admin.token", "/assets/%2e%2e/admin.token",
              "/../pki/authority.key", "/assets/%00", f"/assets/{RELEASE}/%00", "/assets/" + "a/" * 180, "/admin.token",
              "/api/v1/machines", "/api/v1/status", "/login", "/static/style.css", "/m/../../pki/authority.key", "/m/",
              "/debug", "/console", "/?__debugger__=yes&cmd=resource&f=style.css", "/v2/", "/v2/_catalog",
              f"/assets/{RELEASE}-evil/x", f"/assets/{RELEASE}", "/assets/", "/assets"]  # fmt: skip
    sends = {path: (port, port == 443, request(path)) for path in paths for port in (80, 443)}
    answers = scene.attack(sends)
    kinds = {answer.partition(b"\r\n")[0] for answer in answers.values()}
    assert kinds <= {b"HTTP/1.1 404 NOT FOUND", b"HTTP/1.1 400 Bad Request"}, explain(answers)
    assert {answer.partition(b"\r\n\r\n")[2] for answer in answers.values() if b" 404 " in answer[:20]} == {NOT_FOUND}
    assert all(b"root:" not in answer for answer in answers.values())


def test_what_was_heard_is_of_no_use_when_it_is_sent_again(scene: Scene) -> None:
    streams = read_streams(scene.folder / "heard.pcap")
    spoken = {flow: data for flow, data in streams.items() if flow.target == SERVER and flow.source in (VICTIM, OTHER)}
    assert {flow.target_port for flow in spoken} >= {80, 443}
    sends = {f"replay {number} to {flow.target_port}": (flow.target_port, False, data)
             for number, (flow, data) in enumerate(spoken.items())}  # fmt: skip
    answers = scene.attack(sends)
    for name, answer in answers.items():
        if name.endswith(" 80"):
            assert b"/m/" not in answer, (name, answer)
            assert b"ignition" not in answer, (name, answer)


def test_the_registry_takes_nothing_and_tells_no_file(scene: Scene) -> None:
    up = "/".join(["..%2f" * 8])
    digest = f"sha256:{'0' * 64}"
    sends = {
        f"registry {method} {path}": (5000, True, request(path, method, body=b"{}" if method != "GET" else b""))
        for method, path in [
            ("POST", "/v2/evil/blobs/uploads/"), ("PUT", f"/v2/evil/blobs/uploads/x?digest={digest}"),
            ("PUT", "/v2/evil/manifests/latest"), ("DELETE", f"/v2/registry.k8s.io/pause/manifests/{digest}"),
            ("GET", f"/v2/{up}etc/passwd/blobs/{digest}"), ("GET", "/v2/../../admin.token"), ("GET", "/debug/vars"),
            ("GET", "/debug/pprof/"), ("GET", "/metrics"),
        ]
    }  # fmt: skip
    answers = scene.attack(sends)
    assert {answer[9:12] for answer in answers.values()} <= {b"400", b"401", b"403", b"404", b"405", b"301"}, explain(
        answers
    )


def test_the_admin_plane_is_not_on_this_segment(scene: Scene) -> None:
    answers = scene.attack(
        {f"admin on {port}": (port, False, request("/api/v1/machines")) for port in (8480, 8000, 22)}
    )
    assert set(answers.values()) == {b"ConnectionRefusedError"}
    assert (scene.state / "admin.sock").stat().st_mode & 0o777 == 0o600
    assert (scene.state / "admin.token").stat().st_mode & 0o777 == 0o600


def test_with_the_victims_address_there_is_nothing_left_to_claim(scene: Scene) -> None:
    """The strongest on a plain segment: the sniffed token, the sniffed UUID and the victim's own address."""
    before = len(scene.alarms())
    scene.victim.ip("link", "set", "eth0", "down")
    scene.evil.ip("address", "add", f"{VICTIM}/24", "dev", "eth0")
    scene.evil.ip("route", "replace", f"{SERVER}/32", "dev", "eth0", "src", VICTIM)
    scene.server.run("ip", "neigh", "flush", "all")
    try:
        scene.evil.run("ping", "-c", "1", "-W", "5", "-I", VICTIM, SERVER)
        token = scene.tokens[1]
        answers = scene.attack(
            {
                "the claim": (443, True, request(f"/m/{token}/config?uuid={BOARD}")),
                "the older claim": (443, True, request(f"/m/{scene.tokens[0]}/config?uuid={BOARD}")),
                "the installer's text": (80, False, request(f"/m/{token}/install")),
                "a step back": (443, True, request(f"/m/{token}/report", "POST", body=report("image"))),
                "another generation": (443, True, request(f"/m/{token}/report", "POST", body=report("booted", 2))),
            }
        )
        assert {answer.partition(b"\r\n\r\n")[2] for answer in answers.values()} == {NOT_FOUND}, explain(answers)
        script = scene.attack(
            {"a boot script": (80, False, request(f"/boot.ipxe?mac={VICTIM_MAC}&uuid={BOARD}&arch=7"))}
        )
        assert b"/m/" not in script["a boot script"]  # it is installed: its disk
        alarms = wait_for(lambda: scene.alarms()[before:], why=scene.log.read_text)
        assert any("claim refused: sealed" in alarm for alarm in alarms), alarms
    finally:
        scene.evil.ip("route", "delete", f"{SERVER}/32")
        scene.evil.ip("address", "delete", f"{VICTIM}/24", "dev", "eth0")
        scene.victim.ip("link", "set", "eth0", "up")


def test_the_victim_is_still_installed_once(scene: Scene) -> None:
    store = SqliteStore(scene.state / "state.db")
    try:
        history = store.find_history(VICTIM_MAC)
        assert (history.wanted, history.done, history.held) == (1, 1, "")
    finally:
        store.close()


def test_no_canary_in_anything_that_the_attacker_has(scene: Scene) -> None:
    public = {
        path: scene.curl(scene.evil, "-k", f"{scheme}://{SERVER}{path}")
        for scheme in ("http", "https")
        for path in ("/metrics", "/healthz", "/authorities", f"/cloud-config/{VICTIM_MAC}", f"/ignition/{VICTIM_MAC}",
                     f"/cloud-config/{OTHER_MAC}", "/autoexec.ipxe", f"/boot.ipxe?mac={OTHER_MAC}")
    }  # fmt: skip
    assert b"#cloud-config" in public[f"/cloud-config/{VICTIM_MAC}"]
    heard = scene.folder / "heard.pcap"
    streams = {f"the stream {flow}": data for flow, data in read_streams(heard).items()}
    texts = {"the capture": heard.read_bytes(), "the log": scene.log.read_bytes(), **streams, **public, **scene.answers}
    assert len(texts["the capture"]) > 100_000
    assert search(find_secrets(scene.state), texts) == []
    kept = b"".join(path.read_bytes() for path in scene.state.glob("state.db*"))
    assert all(token.encode() not in kept for token in scene.tokens)
