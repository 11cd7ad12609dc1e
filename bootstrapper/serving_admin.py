"""What the admin plane's process is built of. Part of the wiring, like `serving`, which runs it."""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from bootstrapper.approvals import check_with_approved
from bootstrapper.assets.readiness import FILE_NAME as READINESS
from bootstrapper.assets.readiness import ReadinessFile
from bootstrapper.cluster.model import Cluster, Machine
from bootstrapper.cluster.plan import Changes
from bootstrapper.description import build_context, read_lock
from bootstrapper.errors import ClusterProblems, Problem, UserError
from bootstrapper.mirroring import list_advice
from bootstrapper.nodeconfig.outputs import render_output
from bootstrapper.pki.files import read_private, write_private
from bootstrapper.pki.tokens import is_token, mint_token
from bootstrapper.planning import plan_changes
from bootstrapper.servers.admin_sockets import AdminPlace
from bootstrapper.servers.interfaces import Link
from bootstrapper.servers.logs import LOGGER
from bootstrapper.state.store import Store
from bootstrapper.templating import Templates
from bootstrapper.web.admin.parts import AdminParts, Checked, Facts

TOKEN_NAME = "admin.token"  # noqa: S105 - the file's name


class AdminRoom:
    """Reads the description's neighbours for the admin plane: the templates and `assets.lock`, each time anew."""

    def __init__(
        self,
        description: Path,
        state: Path,
        assets: Path,
        load_templates: Callable[[], Templates],
        cluster: Cluster,
        authority_pem: str,
        check_more: Callable[[Cluster], None] = lambda cluster: None,
    ) -> None:
        self._description = description
        self._state = state
        self._assets = assets
        self._load_templates = load_templates
        self._cluster = cluster
        self._authority_pem = authority_pem
        self._check_more = check_more
        self._readiness = ReadinessFile(state / READINESS)

    def make_parts(self, store: Store, token: str, place: AdminPlace | None, link: Link) -> AdminParts:
        cluster = self._cluster
        return AdminParts(
            cluster=lambda: cluster,
            store=store,
            description=self._description,
            state=self._state,
            check=lambda text: self.check(text, store.load_approved()),
            render=self.render,
            plan=self.plan,
            missing_assets=self.find_missing,
            now=time.time,
            wait=time.sleep,
            random_bytes=secrets.token_bytes,
            token=token,
            hosts=find_hosts(place, cluster),
            facts=Facts(
                interface=link.name,
                address=str(link.address),
                listens=f"{place.address}:{place.port}" if place else None,
                assets=str(self._assets),
            ),
        )

    def check(self, text: str, approved: frozenset[str] = frozenset()) -> Checked:
        """As `bootstrapper check` does, and what a reload looks at beside; raises nothing that the text can cause.

        `approved`: unknown machines that are members although the text does not name them.
        """
        try:
            templates = self._load_templates()
            cluster = check_with_approved(text, str(self._description), templates, approved)
            self._check_more(cluster)
            found = list_advice(cluster, templates, read_lock(self._description), datetime.now(UTC).date())
        except ClusterProblems as error:
            return Checked(None, error.problems)
        except UserError as error:
            return Checked(None, (Problem(0, "", error.message, error.hint, str(self._description)),))
        return Checked(cluster, (), found)

    def plan(self, old: Cluster, new: Cluster) -> Changes:
        return plan_changes(old, new, self._load_templates(), read_lock(self._description))

    def render(self, output: str, cluster: Cluster, machine: Machine) -> str:
        """The public text: the context has neither token nor keys, so there is no secret that could be in it."""
        templates, lock = self._load_templates(), read_lock(self._description)
        return render_output(output, build_context(cluster, templates, self._authority_pem, lock), machine).text

    def find_missing(self, _: Cluster) -> Mapping[str, tuple[str, ...]]:
        """What the process `files` found last, images and hashes included: the same that opens no install."""
        return self._readiness.read().missing


def find_hosts(place: AdminPlace | None, cluster: Cluster) -> frozenset[str]:
    """What a browser may call the listener; loopback's names are always among it."""
    if place is None or not place.needs_tls:
        return frozenset()
    return frozenset({str(place.address), f"bootstrapper.{cluster.domain}"})


def load_admin_token(state: Path) -> str:
    """The token of STATE/admin.token, made at the first start. Raises UserError for one that others can read."""
    path = state / TOKEN_NAME
    if not os.path.lexists(path):
        write_private(path, mint_token(secrets.token_bytes).encode() + b"\n")
        logging.getLogger(LOGGER).info("the admin's token is in %s", path)
    hint = f"remove {path}, and a new token is made at the next start"
    token = read_private(path, hint).decode("ascii", "replace").strip()
    if not is_token(token):
        raise UserError(f"{path} holds no token of this server's", hint)
    return token
