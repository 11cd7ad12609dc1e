"""The programs a site runs, where they come from, and how a node is started with them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import yaml
from cluster_images import find_libraries, make_image
from cluster_site import VERSION, Site

SUBSTITUTES = (
    # There is no systemd here to make groups of processes.
    ("/etc/kubernetes/kubelet.yaml", b"cgroupDriver: systemd", b"cgroupDriver: cgroupfs"),
    ("/etc/containerd/config.toml", b"SystemdCgroup = true", b"SystemdCgroup = false"),
    # A test computer that is a container or a guest of one may lack CAP_SYS_RESOURCE: nothing of ours is then spared
    # when memory runs out.
    (
        "/etc/containerd/config.toml",
        b'[plugins."io.containerd.grpc.v1.cri"]\n',
        b'[plugins."io.containerd.grpc.v1.cri"]\n  restrict_oom_score_adj = true\n',
    ),
)
"Generated files that cannot be as they are: path, what is there, what stands in for it."
CNI = "/etc/cni/net.d/10-flannel.conflist"
"flannel is in no distribution: left out, and another network put in its place."


def find_programs() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    programs = cache / "bootstrapper" / f"kubernetes-{VERSION}"
    if not (programs / "kubectl").exists():
        pytest.skip("packaging/build-kubernetes.sh has not made the programs of Kubernetes")
    return programs


def find_image_names(site: Site) -> dict[str, str]:
    """Container name -> image, of all generated manifests."""
    found = {}
    for machine in site.machines.values():
        for file in machine.config.files:
            if file.path.startswith("/etc/kubernetes/manifests/"):
                for container in yaml.safe_load(file.content)["spec"]["containers"]:
                    found[container["name"]] = container["image"]
    return found


def make_images(programs: Path, site: Site) -> dict[str, Path]:
    """Name -> archive. The names are the manifests' and containerd's own (the pause image)."""
    busybox = Path(shutil.which("busybox") or "/usr/bin/busybox")
    haproxy = Path(shutil.which("haproxy") or "/usr/sbin/haproxy")
    tools = {f"/bin/{name}": busybox for name in ("busybox", "sh", "sleep", "wget", "cat", "echo", "nc")}
    contents = {
        name: {f"/usr/local/bin/{name}": programs / name}
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    }
    contents["haproxy"] = {"/usr/sbin/haproxy": haproxy, **{str(each): each for each in find_libraries(haproxy)}}
    names = find_image_names(site)
    assert set(names) == set(contents), "the generated manifests hold other containers than this knows"
    images = {
        names[name]: make_image(site.directory / f"{name}.tar", names[name], files, [name])
        for name, files in contents.items()
    }
    pause = f"registry.k8s.io/pause:{find_pause(site)}"
    images[pause] = make_image(site.directory / "pause.tar", pause, tools, ["/bin/sleep", "1000000"])
    images[TOOLS] = make_image(site.directory / "tools.tar", TOOLS, tools, ["/bin/sleep", "1000000"])
    return images


def find_pause(site: Site) -> str:
    config = next(file for file in site.machines["w1"].config.files if file.path == "/etc/containerd/config.toml")
    return config.content.decode().partition("registry.k8s.io/pause:")[2].partition('"')[0]


def start_node(site: Site, host: str, programs: Path, images: dict[str, Path]) -> None:
    """containerd with its images, then the kubelet: as the units say, but for SUBSTITUTES."""
    machine = site.machines[host]
    contents = {file.path: file.content for file in machine.config.files}
    for path, old, new in SUBSTITUTES:
        assert contents[path].count(old) == 1, f"{path} does not hold {old!r} once"
        contents[path] = contents[path].replace(old, new)
    machine.write({path: (contents[path], 0o644) for path, _, _ in SUBSTITUTES})
    machine.run("rm", CNI)
    machine.link("/opt/cni/bin", "/usr/lib/cni")
    for name in ("kubelet", "kubectl", "kube-proxy"):
        machine.link(f"/opt/bin/{name}", str(programs / name))
    machine.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    machine.start_command("containerd.service", "containerd", "--config", "/etc/containerd/config.toml")
    machine.wait_for_file("/run/containerd/containerd.sock")
    wanted = set(find_image_names(site).values()) if host.startswith("m") else set()
    wanted |= {name for name in images if not name.rpartition("/")[2].startswith("kube-")}
    for name in sorted(wanted):
        machine.run("ctr", "-n", "k8s.io", "images", "import", "-", data=images[name].read_bytes(), timeout=120)
    machine.start("kubelet.service")


TOOLS = "test.invalid/tools:1"
