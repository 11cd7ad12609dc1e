"""What `serve` runs: every object built, every socket handed to the process that uses it.

Beside `cli`, the only module that sees all rooms. The order matters: the description first (nothing is touched for a
bad one), then the sockets, then privileges are gone, then the state is opened and children are forked.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address
from pathlib import Path
from threading import Thread

import uvloop
from flask import Flask

from bootstrapper.answers.leases import LeaseState
from bootstrapper.answers.tftp import Settings, Visitors
from bootstrapper.answers.transfer import content_of
from bootstrapper.approvals import Approvals, check_with_approved
from bootstrapper.assets.readiness import FILE_NAME as READINESS
from bootstrapper.assets.readiness import Need, ReadinessFile
from bootstrapper.assets.registry_storage import REGISTRY
from bootstrapper.boot.history import History
from bootstrapper.boot.links import Links
from bootstrapper.boot.scripts import render_autoexec
from bootstrapper.cluster.load import load
from bootstrapper.cluster.model import Cluster
from bootstrapper.cluster.plan import find_restarts
from bootstrapper.description import read_lock, read_text
from bootstrapper.errors import ClusterProblems, UserError
from bootstrapper.kube import loop as kube
from bootstrapper.nodeconfig.outputs import render_output
from bootstrapper.pki.authority import Identity, load_identity
from bootstrapper.pki.cluster import ClusterPki
from bootstrapper.readying import FileWatch, LockFile, run_file_watch
from bootstrapper.refusing import RefusedPulls
from bootstrapper.servers.admin_sockets import SOCKET_NAME, AdminPlace, AdminSockets, open_admin_tcp, open_admin_unix
from bootstrapper.servers.chrony import check_time_port, find_chronyd, make_chrony
from bootstrapper.servers.counters import CounterSaver
from bootstrapper.servers.dhcp import DhcpSockets, serve_dhcp
from bootstrapper.servers.dns_run import run_dns
from bootstrapper.servers.http import serve_http
from bootstrapper.servers.logs import LOGGER
from bootstrapper.servers.privileges import Account, drop_privileges, hand_over
from bootstrapper.servers.recorder import Recorder
from bootstrapper.servers.registry import check_registry_port, find_registry, make_registry
from bootstrapper.servers.registry_log import FILE_NAME as REFUSED
from bootstrapper.servers.registry_log import RefusalFile
from bootstrapper.servers.sockets import Sockets, open_sockets
from bootstrapper.servers.supervisor import Child, Service, Supervisor
from bootstrapper.servers.tftp import TftpServer, load_boot_files, serve_tftp
from bootstrapper.serving_admin import TOKEN_NAME, AdminRoom, load_admin_token
from bootstrapper.state.backup import DATABASE
from bootstrapper.state.carry_out import adopt_histories
from bootstrapper.state.refused import describe_refused, end_refused, keep_refused
from bootstrapper.state.schema import BUSY_TIMEOUT_S, StateError
from bootstrapper.state.sqlite import SqliteStore
from bootstrapper.templating import Templates, build_environment
from bootstrapper.web.admin.app import create_admin_app
from bootstrapper.web.admin.editor import MOST_BYTES, find_note
from bootstrapper.web.app import create_app
from bootstrapper.web.parts import Parts
from bootstrapper.web.senders import Senders

PER_CLIENT = 32
"Connections of one address to one worker. Of its threads it has a quarter at most, so that nobody can hold them all."

REQUEST_WAIT_S = 5.0
"For the state, of who answers a machine or an admin. Four processes that write without a pause wait 4 s at most."
AGAIN_S = 10.0
"When a description is tried again that the state had no room for."


@dataclass(frozen=True)
class Setup:
    """What the command line said."""

    description: Path
    state: Path
    assets: Path
    load_templates: Callable[[], Templates]
    account: Account
    boot_files: Path
    "Where the distribution's ipxe package keeps its binaries."
    admin: AdminPlace | None = None
    "Where the admin plane listens beside its Unix socket; None: nowhere."
    need: Need = Need.ALL
    "What must be here before a machine is installed."


def serve(setup: Setup) -> None:
    """Run all services until SIGTERM or SIGINT. Raises UserError before anything was started."""
    log = logging.getLogger(LOGGER)
    watch = Watch(setup.description)
    approvals = Approvals(setup.state / DATABASE, time.monotonic)
    cluster, text, refused = _load_first(setup, approvals)
    sockets = open_sockets(cluster.network)
    admin_tcp = open_admin_tcp(setup.admin)
    check_programs(cluster)
    if cluster.network.ntp.serve:
        check_time_port(cluster.network)
    if cluster.registry.serve:
        check_registry_port(cluster)
    load_boot_files(setup.boot_files)
    _prepare_state(setup.state, setup.account)
    drop_privileges(setup.account)
    admin = AdminSockets(open_admin_unix(setup.state), admin_tcp, setup.admin)
    load_admin_token(setup.state)
    identity = _load_identity(setup, cluster)
    _keep_description(setup.state, text, cluster, fresh=True)
    if refused is not None:
        _keep_refused(setup, refused)
    log.info(
        "serving %s (%d machines) on %s, %s, as %s",
        cluster.name,
        len(cluster.machines),
        sockets.link.name,
        sockets.link.address,
        setup.account.name,
    )
    log.info("admin: %s", describe_admin(setup))

    read_lock(setup.description)  # a bad one is refused before anything is served
    if setup.need is Need.BOOT:
        log.warning("--require boot: machines are installed although not all that they need may be here, or proven")

    def changed() -> bool:
        # Both are asked: each remembers what it saw.
        return any([watch.changed(), approvals.changed()])

    def reload() -> list[Child] | None:
        try:
            fresh, text = _load_again(setup, cluster, approvals)
            services = build_services(setup, fresh, sockets, _load_identity(setup, fresh), admin)
            revision = _keep_description(setup.state, text, fresh)
        except (UserError, OSError) as error:
            refused = error if isinstance(error, UserError) else UserError(f"the state cannot be written: {error}")
            _say(refused)
            log.error("%s was refused: the last good description stays in force", setup.description)
            _keep_refused(setup, refused)
            if isinstance(error, StateError | OSError):  # no fault of the file
                watch.look_again(AGAIN_S)
            return None
        log.info("%s is in force (revision %d, %d machines)", setup.description, revision, len(fresh.machines))
        return services

    Supervisor(build_services(setup, cluster, sockets, identity, admin), reload, changed, time.monotonic).run()
    log.info("stopped")


def describe_admin(setup: Setup) -> str:
    """Where the admin plane is to be found."""
    place = setup.admin
    if place is None:
        return f"{setup.state / SOCKET_NAME} only"
    scheme = "https" if place.needs_tls else "http"
    return f"{scheme}://{place.address}:{place.port}, with the token of {setup.state / TOKEN_NAME}"


def build_services(
    setup: Setup, cluster: Cluster, sockets: Sockets, identity: Identity, admin: AdminSockets
) -> list[Child]:
    """One child for each service that the description switches on."""
    cluster.prepare()
    room = Room(setup, cluster, sockets, identity, admin)
    dhcp: list[Child] = [Service("dhcp", room.run_dhcp)] if sockets.dhcp and sockets.pxe else []
    time_service: list[Child] = [make_chrony(cluster, setup.state / "chrony")] if cluster.network.ntp.serve else []
    images = setup.assets / REGISTRY
    registry: list[Child] = (
        [make_registry(cluster, setup.state / REGISTRY, images, identity)] if cluster.registry.serve else []
    )
    return [
        *dhcp,
        *time_service,
        *registry,
        Service("files", room.run_files),
        Service("kube", room.run_kube),
        Service("dns", room.run_dns),
        Service("tftp", room.run_tftp, overlap=True),
        Service("http", room.run_http, overlap=True),
        Service("https", room.run_https, overlap=True),
        Service("admin", room.run_admin, overlap=True),
    ]


def check_programs(cluster: Cluster) -> None:
    """The programs of others that the description asks for are here. Raises UserError, saying how to do without."""
    if cluster.network.ntp.serve:
        find_chronyd()
    if cluster.registry.serve:
        find_registry()


@dataclass(frozen=True)
class Room:
    """The lives of the children: each method is called in a process of its own, after the fork."""

    setup: Setup
    cluster: Cluster
    sockets: Sockets
    identity: Identity
    admin: AdminSockets

    def run_dhcp(self) -> None:
        sockets = self.sockets
        assert sockets.dhcp is not None and sockets.pxe is not None, "not started otherwise"
        store = self._open_store()
        recorder = self._make_recorder(store)
        mine = DhcpSockets(sockets.link, sockets.dhcp, sockets.pxe, sockets.frames, sockets.echo, sockets.rivals)
        serve_dhcp(self.cluster, store, mine, recorder.record)
        recorder.stop()

    def run_dns(self) -> None:
        store = self._open_store()
        counts: Counter[str] = Counter()
        saver = CounterSaver(store, "dns", "dns_queries", "outcome", counts)
        run_dns(
            self.cluster,
            lambda: find_leased(store, self.cluster),
            [self.sockets.dns_udp],
            [self.sockets.dns_tcp],
            counts,
        )
        saver.stop()

    def run_tftp(self) -> None:
        store = self._open_store()
        recorder = self._make_recorder(store)
        counts: Counter[str] = Counter()
        saver = CounterSaver(store, "tftp", "tftp_requests", "outcome", counts)
        files = load_boot_files(self.setup.boot_files)
        script = render_autoexec(build_environment(self.setup.load_templates()), self._links)
        files["autoexec.ipxe"] = content_of(script.encode())
        visitors = Visitors(self.cluster, store.find_holder, Histories(store).find)

        async def live() -> None:
            server = TftpServer(
                self.sockets.tftp,
                files,
                find_visitor=visitors.find,
                record=recorder.record,
                count=lambda reason: counts.update((reason,)),
                settings=Settings(mtu=self.sockets.link.mtu),
            )
            await serve_tftp(server, stop_on_signal())

        uvloop.run(live())
        recorder.stop()
        saver.stop()

    def run_kube(self) -> None:
        store = self._open_store()
        recorder = self._make_recorder(store)
        with suppress(kube.Stopped):
            stop = kube.stop_on_signal()
            kube.run_kube(
                kube.Parts(
                    cluster=self.cluster,
                    environment=build_environment(self.setup.load_templates()),
                    store=store,
                    pki=self._open_pki(),
                    record=recorder.record,
                    now=time.time,
                    monotonic=time.monotonic,
                    wait=stop.wait,
                )
            )
        recorder.stop()

    def run_http(self) -> None:
        serve_http(lambda: self._make_app("http"), self.sockets.http, workers=2, per_client=PER_CLIENT)

    def run_https(self) -> None:
        tls = (self.identity.certificate, self.identity.key)
        serve_http(lambda: self._make_app("https"), self.sockets.https, tls=tls, workers=2, per_client=PER_CLIENT)

    def run_admin(self) -> None:
        """One worker: how many follow the events, and which logins failed, is known in one process."""
        place = self.admin.place
        tls = (self.identity.certificate, self.identity.key) if place and place.needs_tls else None
        serve_http(
            self._make_admin_app, self.admin.listeners, tls=tls, workers=1, threads=64, per_client=PER_CLIENT,
            share=PER_CLIENT, most=3 * MOST_BYTES, request_s=120.0, grace_s=60,
        )  # fmt: skip

    def _make_admin_app(self) -> Flask:
        setup = self.setup
        room = AdminRoom(
            setup.description,
            setup.state,
            setup.assets,
            setup.load_templates,
            self.cluster,
            self.identity.authority_pem,
            check_programs,
        )
        token = load_admin_token(setup.state)
        parts = room.make_parts(self._open_store(REQUEST_WAIT_S), token, self.admin.place, self.sockets.link)
        app = create_admin_app(parts)
        # What the first page of a big rack would wait for a second for: which files its machines need.
        Thread(target=app.extensions["desk"].machines, name="warm", daemon=True).start()
        return app

    def _make_app(self, process: str) -> Flask:
        store = self._open_store(REQUEST_WAIT_S)
        return create_app(
            Parts(
                cluster=lambda: self.cluster,
                store=store,
                environment=build_environment(self.setup.load_templates()),
                links=self._links,
                render=render_output,
                authority_pem=self.identity.authority_pem,
                assets=self.setup.assets,
                pki=self._open_pki(),
                now=time.time,
                new_token=lambda: secrets.token_urlsafe(32),
                record=self._make_recorder(store).record,
                lock=LockFile(self.setup.description).read,
                find_waiting=self._find_waiting,
                require_hashes=self.setup.need is Need.ALL,
                process=process,
                state=self.setup.state,
            )
        )

    def run_files(self) -> None:
        """Looks whether everything that machines will ask for is here; the others read what it wrote."""
        setup, stop = self.setup, threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
        store = self._open_store()
        recorder = self._make_recorder(store)
        lock = LockFile(setup.description)
        watch = FileWatch(
            self.cluster, setup.load_templates, lock, setup.assets, setup.state, setup.state / READINESS, setup.need,
            recorder.record, time.time, stop.is_set,
        )  # fmt: skip
        senders = Senders(lambda: self.cluster, store)
        refused = RefusedPulls(RefusalFile(setup.state / REGISTRY / REFUSED), senders, recorder.record)
        run_file_watch(watch, stop.wait, refused.tell)
        recorder.stop()

    @cached_property
    def _readiness(self) -> ReadinessFile:
        return ReadinessFile(self.setup.state / READINESS)

    def _find_waiting(self, mac: str) -> str:
        return self._readiness.read().explain(mac)

    @property
    def _links(self) -> Links:
        return Links(self.cluster.network.bootstrapper)

    def _open_pki(self) -> ClusterPki:
        return ClusterPki(self.setup.state / "pki" / "cluster", self.cluster, time.time)

    def _open_store(self, wait_s: float = BUSY_TIMEOUT_S) -> SqliteStore:
        return open_store(self.setup.state, wait_s)

    def _make_recorder(self, store: SqliteStore) -> Recorder:
        return Recorder(store, self.cluster.hosts)


class Histories:
    """The machines' histories, read again only when another process wrote."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self._version = -1
        self._changed = 0
        self._known: dict[str, History] = {}

    def find(self, mac: str) -> History:
        version = self._store.data_version()
        if version != self._version:
            self._version = version
            self._changed, fresh = self._store.changed_histories(self._changed)
            self._known |= fresh
        return self._known.get(mac, History())


def find_leased(store: SqliteStore, cluster: Cluster) -> Mapping[str, IPv4Address]:
    """MAC -> address of the machines that get theirs from a pool."""
    leases = {lease.mac: lease.address for lease in store.load_leases() if lease.state is LeaseState.BOUND}
    return {
        mac: leases[mac] for machine in cluster.machines if machine.ip is None for mac in machine.macs if mac in leases
    }


def stop_on_signal() -> asyncio.Event:
    """Set by SIGTERM; for the loop that runs now."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    return stop


def open_store(state: Path, wait_s: float = BUSY_TIMEOUT_S) -> SqliteStore:
    return SqliteStore(state / DATABASE, wait_s)


class Watch:
    """Notices that a file was saved, also by an editor that puts a new file in its place."""

    def __init__(self, path: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._monotonic = monotonic
        self._again_at = float("inf")
        self._seen = self._look()

    def look_again(self, after_s: float) -> None:
        """It counts as saved again after so long: what kept it from coming into force was not in the file."""
        self._again_at = self._monotonic() + after_s

    def changed(self) -> bool:
        now = self._look()
        if now == self._seen and self._monotonic() < self._again_at:
            return False
        self._again_at = float("inf")
        self._seen = now
        return now is not None

    def _look(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size


def _load_first(setup: Setup, approvals: Approvals) -> tuple[Cluster, str, UserError | None]:
    """The description to start with: the file, or the last good one when the file is bad (design.md rule 6), and why
    it is."""
    try:
        text = read_text(setup.description)
        cluster = check_with_approved(text, str(setup.description), setup.load_templates(), approvals.load())
    except UserError as error:
        kept = _find_kept(setup.state)
        if kept is None:
            raise
        cluster = check_with_approved(kept[1], f"revision {kept[0]}", setup.load_templates(), approvals.load())
        _say(error)
        logging.getLogger(LOGGER).error(
            "%s was refused: serving revision %d, the last good one", setup.description, kept[0]
        )
        return cluster, kept[1], error
    return cluster, text, None


def _find_kept(state: Path) -> tuple[int, str] | None:
    if not (state / DATABASE).exists():
        return None
    store = open_store(state)
    try:
        return store.load_description()
    finally:
        store.close()


def _load_again(setup: Setup, old: Cluster, approvals: Approvals) -> tuple[Cluster, str]:
    """The description after a reload, and its text. Raises UserError for one that is refused."""
    text = read_text(setup.description)
    cluster = check_with_approved(text, str(setup.description), setup.load_templates(), approvals.load())
    read_lock(setup.description)
    check_programs(cluster)
    for what, before, after in find_restarts(old, cluster):
        raise UserError(f"{what} changed from {before} to {after}", "restart this server for it to take effect")
    return cluster, text


def _keep_refused(setup: Setup, error: UserError) -> None:
    """For the admin to see. Where the state cannot be written, the log alone says it."""
    with suppress(UserError):
        store = open_store(setup.state, REQUEST_WAIT_S)
        try:
            keep_refused(store, describe_refused(error, str(setup.description), time.time()))
        finally:
            store.close()


def _say(error: UserError) -> None:
    log = logging.getLogger(LOGGER)
    if isinstance(error, ClusterProblems):
        for problem in error.problems:
            log.error("%s", problem.text())
    else:
        log.error("%s%s", error.message, f" ({error.hint})" if error.hint else "")


def _keep_description(state: Path, text: str, cluster: Cluster, fresh: bool = False) -> int:
    """Its revision. `fresh`: the server starts, and its counters begin anew."""
    store = open_store(state, BUSY_TIMEOUT_S if fresh else REQUEST_WAIT_S)
    try:
        if fresh:
            store.verify()
            store.clear_counters()
        for moved in adopt_histories(store, cluster, _load_kept(store), time.time()):
            logging.getLogger(LOGGER).warning("the machine named by %s is named by %s now: its life goes on", *moved)
        kept = store.load_description()
        revision = (
            kept[0] if kept and kept[1] == text else store.save_description(text, time.time(), find_note(store, text))
        )
        end_refused(store, time.time(), f"revision {revision}, {len(cluster.machines)} machines")
        # What was found for another description says nothing about this one: nobody is ready until it was looked again.
        (state / READINESS).unlink(missing_ok=True)
        return revision
    finally:
        store.close()


def _load_kept(store: SqliteStore) -> Cluster | None:
    """The description that was in force until now, if this version still takes it."""
    kept = store.load_description()
    with suppress(UserError):
        return load(kept[1]) if kept else None
    return None


def _prepare_state(state: Path, account: Account) -> None:
    """The state directory, for `account` alone. Started as root, everything below is handed to it."""
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        state.chmod(0o700)
        if os.geteuid() == 0:
            hand_over(state, account)
    except OSError as error:
        raise UserError(f"the state directory {state}: {error.strerror}", "give another with --state") from error


def _load_identity(setup: Setup, cluster: Cluster) -> Identity:
    name = f"bootstrapper.{cluster.domain}"
    addresses = {cluster.network.bootstrapper}
    if setup.admin is not None and setup.admin.needs_tls:
        addresses.add(setup.admin.address)
    return load_identity(setup.state / "pki", name, addresses, time.time())
