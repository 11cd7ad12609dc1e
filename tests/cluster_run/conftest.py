"""One site for all tests here: they run in the order of their files, each one's cluster being the last one's."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "interop"))

from cluster_machine import kept_settings
from cluster_programs import find_programs, make_images, start_node
from cluster_site import SERVER, Site, inside, make_site
from wires import Rack, need, run

from bootstrapper.boot.events import Event
from bootstrapper.boot.history import History
from bootstrapper.kube.loop import Parts, run_kube

KERNEL = ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops",
          "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes")  # fmt: skip
"What kubelets set, for the whole computer."
LINES = 25
"Of each log."


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    need("etcd", "etcdctl", "containerd", "runc", "nsenter", "unshare", "haproxy", "iptables", "busybox")
    directory = tmp_path_factory.mktemp("cluster")
    with kept_settings(*KERNEL), Rack("hl") as rack:
        server = rack.machine("srv", f"{SERVER}/24")
        made = make_site(rack, directory)
        try:
            made.install_all()
            with inside(server.name):
                yield made
        finally:
            for machine in made.machines.values():
                machine.power_off()


@pytest.fixture(scope="session")
def etcd(site: Site) -> Site:
    for machine in site.machines.values():
        for name in ("etcd", "etcdctl"):
            machine.link(f"/opt/bin/{name}", f"/usr/bin/{name}")
        machine.start("etcd.service")
        site.order(machine.host, History(wanted=1, done=0))
    return site


@pytest.fixture(scope="session")
def events(etcd: Site) -> Iterator[list[Event]]:
    """What the server's service in the cluster tells; it runs as `serve` runs it, but as a thread."""
    told: list[Event] = []
    stop = threading.Event()

    def live() -> None:
        store = etcd.open_store()
        run_kube(
            Parts(
                etcd.cluster, etcd.environment, store, etcd.pki,
                told.append, time.time, time.monotonic, stop.wait,
            )
        )  # fmt: skip
        store.close()

    thread = threading.Thread(target=live, daemon=True)
    thread.start()
    yield told
    stop.set()
    thread.join(30)
    for event in told:
        print(event)


@pytest.fixture(scope="session")
def programs(etcd: Site) -> Path:
    return find_programs()


@pytest.fixture(scope="session")
def images(programs: Path, etcd: Site) -> dict[str, Path]:
    return make_images(programs, etcd)


@pytest.fixture(scope="session")
def masters(etcd: Site, programs: Path, images: dict[str, Path]) -> Site:
    """Both have a containerd and a kubelet, which starts what lies in /etc/kubernetes/manifests."""
    for host in ("m1", "m2"):
        start_node(etcd, host, programs, images)
    return etcd


@pytest.fixture(scope="session")
def kubeconfig(masters: Site) -> Path:
    """What `bootstrapper kubeconfig` prints."""
    path = masters.directory / "kubeconfig"
    path.touch(mode=0o600)
    program = Path(sys.executable).with_name("bootstrapper")
    path.write_text(run(str(program), "kubeconfig", str(masters.description), "--state", str(masters.directory)))
    os.environ["KUBECONFIG"] = str(path)
    return path


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Function, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """The machines' last words go with a failure."""
    report = yield
    site = next((value for value in item.funcargs.values() if isinstance(value, Site)), None)
    if report.failed and site is not None:
        for path in sorted(site.directory.glob("*/*.log")):
            text = "\n".join(path.read_text(errors="replace").splitlines()[-LINES:])
            report.sections.append((f"{path.parent.name} {path.stem}", text))
    return report
