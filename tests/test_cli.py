"""The verbs as a user meets them: exit status, messages, no traceback."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from bootstrapper.cli import SECTIONS, main
from bootstrapper.cluster.load import load
from bootstrapper.pki.cluster import ClusterPki

EXAMPLE = Path(__file__).parent.parent / "cluster-desc.example.yaml"
VERBS = sorted(main.commands)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.yaml"
    text = (
        EXAMPLE.read_text().replace("ip: 10.10.14.12", "ip: 10.10.14.11").replace("version: 1.35.8", "version: 1.12.0")
    )
    path.write_text(text)
    return path


def test_check_of_the_example_finds_nothing() -> None:
    result = run("check", str(EXAMPLE))
    assert result.exit_code == 0
    assert result.output.splitlines()[-1] == f"{EXAMPLE}: 5 machines, no problems"


def test_check_names_every_problem_with_its_line(bad: Path) -> None:
    result = run("check", str(bad))
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert lines[-1] == "bootstrapper: 2 problems in the description; nothing was changed"
    assert all(line.startswith(f"{bad}:") for line in lines[:-1])
    assert any("kubernetes.version" in line for line in lines)
    assert any("machines[1].ip" in line for line in lines)


def test_check_as_json(bad: Path) -> None:
    result = run("check", str(bad), "--json")
    assert result.exit_code == 1
    answer = json.loads(result.stdout)
    assert answer["ok"] is False
    assert sorted(problem["path"] for problem in answer["problems"]) == ["kubernetes.version", "machines[1].ip"]


def test_a_template_fault_is_found_by_check_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot" / "install.ipxe.j2").write_text("#!ipxe\necho {{ kernal }}\n")
    result = run("check", str(EXAMPLE), "--templates", str(tmp_path))
    assert result.exit_code == 1
    assert "templates/boot/install.ipxe.j2:2: 'kernal' is undefined" in result.stderr


@pytest.mark.parametrize("verb", ["check", "show"])
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.yaml", None, "cannot be read: No such file"),
        ("latin1.yaml", b"cluster: \xe9", "is not UTF-8 text (byte 9)"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, verb: str, name: str, content: bytes | None, message: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    result = run(verb, str(path))
    assert result.exit_code == 1
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_show_as_json_has_every_machine() -> None:
    plan = json.loads(run("show", str(EXAMPLE), "--json").stdout)
    assert [machine["host"] for machine in plan["machines"]] == [
        "node1",
        "node2",
        "node3",
        "node4",
        "00-25-90-c0-f6-d6",
    ]


@pytest.mark.parametrize("spelling", ["node1", "00:25:90:c0:f7:80", "00-25-90-C0-F7-80", "0025.90c0.f780"])
def test_render_takes_a_host_or_a_mac_in_any_spelling(spelling: str) -> None:
    result = run("render", str(EXAMPLE), spelling, "cloud-config")
    assert result.exit_code == 0
    assert result.output.startswith('#cloud-config\nhostname: "node1"\n')


@pytest.mark.parametrize(
    ("machine", "output", "message"),
    [
        ("node9", "cloud-config", "there is no machine 'node9'"),
        ("52:54:00:00:00:01", "cloud-config", "no machine with the MAC 52:54:00:00:00:01"),
        ("node1", "cloudconfig", "there is no output 'cloudconfig'"),
    ],
)
def test_render_of_what_is_not_there(machine: str, output: str, message: str) -> None:
    result = run("render", str(EXAMPLE), machine, output)
    assert result.exit_code == 1
    assert message in result.stderr


def test_render_all_writes_every_output_of_every_machine(tmp_path: Path) -> None:
    result = run("render", str(EXAMPLE), "--all", "--out", str(tmp_path))
    assert result.exit_code == 0
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert len(written) == 35
    assert {"node1/cloud-config", "node4/ignition", "00-25-90-c0-f6-d6/install", "node2/boot.ipxe"} <= written


def test_render_without_what_to_render_is_wrong_usage() -> None:
    assert run("render", str(EXAMPLE)).exit_code == 2


def test_simulate_shows_packets_and_files() -> None:
    output = run("simulate", str(EXAMPLE), "--mac", "00:25:90:c0:f7:80", "--arch", "bios").output
    for part in (
        'file: "undionly.kpxe"',
        "yiaddr: 10.10.14.11",
        "fetches http://10.10.14.253/boot.ipxe",
        "#cloud-config",
    ):
        assert part in output


def test_simulate_of_an_installed_machine_offers_nothing_to_boot() -> None:
    output = run("simulate", str(EXAMPLE), "--mac", "00:25:90:c0:f7:80", "--state", "installed").output
    assert "yiaddr: 10.10.14.11" in output
    assert "snponly.efi" not in output


def test_simulate_of_a_stranger_has_no_answer() -> None:
    output = run("simulate", str(EXAMPLE), "--mac", "52:54:00:00:00:01").output
    assert "no answer" in output
    assert "yiaddr" not in output


@pytest.mark.parametrize("arguments", [("--mac", "52:54"), ("--mac", "52:54:00:00:00:01", "--arch", "vax")])
def test_simulate_of_nonsense(arguments: tuple[str, ...]) -> None:
    result = run("simulate", str(EXAMPLE), *arguments)
    assert result.exit_code == 1
    assert "Traceback" not in result.output


def test_migrate_writes_a_file_that_check_accepts(tmp_path: Path) -> None:
    out = tmp_path / "cluster-desc.yaml"
    sextant = Path(__file__).parent / "cluster" / "sextant.yaml"
    result = run("migrate", str(sextant), "--out", str(out))
    assert result.exit_code == 0
    assert run("check", str(out)).exit_code == 0


def test_check_of_a_sextant_file_says_migrate() -> None:
    result = run("check", str(Path(__file__).parent / "cluster" / "sextant.yaml"))
    assert result.exit_code == 1
    assert "bootstrapper migrate" in result.stderr


def make_keys(state: Path) -> None:
    """As a server that ran has left them."""
    cluster = load(EXAMPLE.read_text())
    ClusterPki(state / "pki" / "cluster", cluster, time.time)


def test_kubeconfig_of_a_state_without_keys_is_refused(tmp_path: Path) -> None:
    result = run("kubeconfig", str(EXAMPLE), "--state", str(tmp_path))
    assert result.exit_code == 1
    assert "holds no cluster's keys" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_kubeconfig_names_the_cluster_and_its_server(tmp_path: Path) -> None:
    make_keys(tmp_path)
    result = run("kubeconfig", str(EXAMPLE), "--state", str(tmp_path))
    assert result.exit_code == 0
    document = yaml.safe_load(result.stdout)
    assert document["kind"] == "Config"
    assert document["clusters"][0]["cluster"]["server"] == "https://10.10.14.250:6443"
    assert run("kubeconfig", str(EXAMPLE), "--state", str(tmp_path)).stdout == result.stdout


def test_pki_list_and_rotate(tmp_path: Path) -> None:
    make_keys(tmp_path)
    listed = run("pki", "list", str(EXAMPLE), "--state", str(tmp_path))
    assert listed.exit_code == 0
    assert "cluster authority" in listed.output
    assert [
        row["name"] for row in json.loads(run("pki", "list", str(EXAMPLE), "--state", str(tmp_path), "--json").stdout)
    ][:3] == ["cluster authority", "etcd authority", "front-proxy authority"]
    where = run("pki", "rotate", "etcd", "--state", str(tmp_path))
    assert where.output.splitlines()[0] == "etcd: stable"
    assert run("pki", "rotate", "etcd", "--state", str(tmp_path), "--go").output.splitlines()[0] == "etcd: announced"
    early = run("pki", "rotate", "etcd", "--state", str(tmp_path), "--go")
    assert early.exit_code == 1
    assert "--force" in early.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_for_the_shell(shell: str) -> None:
    result = run("completion", shell)
    assert result.exit_code == 0
    assert "_BOOTSTRAPPER_COMPLETE" in result.output


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb: str) -> None:
    result = run(verb, "--help")
    assert result.exit_code == 0
    assert "Example" in result.output


def test_every_verb_is_listed_where_it_belongs() -> None:
    listed = [name for names in SECTIONS.values() for name in names]
    assert len(listed) == len(set(listed))
    assert set(VERBS) - set(listed) == {"completion"}


def test_serve_and_doctor_are_told_where_things_are_by_the_same_options() -> None:
    options = [
        {each.name: each for each in main.commands[verb].params if each.name in ("assets", "boot_files")}
        for verb in ("serve", "doctor")
    ]
    assert options[0].keys() == {"assets", "boot_files"}
    for name, option in options[0].items():
        assert option.to_info_dict() == options[1][name].to_info_dict()
