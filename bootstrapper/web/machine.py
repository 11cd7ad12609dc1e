"""The machine plane's URLs (design.md section 2); the table is at the end. Nobody logs in here.

Boot scripts, what anyone may read of a machine's configuration, and what people watch; `claims` has the rest.
"""

from __future__ import annotations

import logging
from contextlib import suppress

from flask import Flask, Response, request
from netaddr import EUI
from netaddr.core import NotRegisteredError

from bootstrapper.boot.decide import Action
from bootstrapper.boot.firmware import Firmware
from bootstrapper.boot.local_disk import ROUTES
from bootstrapper.boot.scripts import render_autoexec, render_script
from bootstrapper.boot.steps import Http, describe_script
from bootstrapper.cluster.fields import Expected, parse_mac
from bootstrapper.errors import UserError
from bootstrapper.pki.tokens import digest_token, name_token
from bootstrapper.state.store import Sighting
from bootstrapper.web.booting import Asker, Boot, answer_boot, parse_asker
from bootstrapper.web.claims import ClaimViews
from bootstrapper.web.desk import Desk, find_source
from bootstrapper.web.metrics import Metrics
from bootstrapper.web.pulls import PullViews
from bootstrapper.web.renew import RenewViews
from bootstrapper.web.replies import json_reply, missing, not_ready, text_reply
from bootstrapper.web.senders import Senders


def add_urls(app: Flask, desk: Desk, senders: Senders) -> None:
    views = {
        "scripts": ScriptViews(desk),
        "claims": ClaimViews(desk),
        "watch": WatchViews(desk),
        "renew": RenewViews(desk),
        "pulls": PullViews(desk, senders),
    }
    for rule, group, name, methods in URLS:
        app.add_url_rule(rule, f"{group}.{name}", getattr(views[group], name), methods=methods)


class ScriptViews:
    """What a machine boots, and the public text of its configuration."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    # -- boot scripts ---------------------------------------------------------
    def boot_ipxe(self) -> Response:
        return self._boot("boot.ipxe")

    def grub_cfg(self) -> Response:
        return self._boot("grub.cfg")

    def pxelinux_cfg(self) -> Response:
        return self._boot("pxelinux.cfg")

    def autoexec(self) -> Response:
        return text_reply(render_autoexec(self.desk.parts.environment, self.desk.parts.links))

    def _boot(self, output: str) -> Response:
        asker = parse_asker(request.args, find_source())
        if asker is None:
            self.desk.counts.add('http_refused{reason="no usable mac"}')
            return missing()
        try:
            boot = answer_boot(self.desk.parts, asker, open_it=request.method == "GET")
            if boot.decision.action is Action.SILENT:
                self._sight(asker)
                return missing()
            text = self._script(output, asker, boot)
        except UserError as error:  # a template of the admin's own, or an OS without an installer yet
            if self.desk.listens_to_machine(Http.SCRIPT_FAILED, asker.mac):
                self.desk.record(asker.mac, Http.SCRIPT_FAILED, error.message, "error")
            return not_ready()
        if boot.decision.action is Action.ADDRESS:
            self._sight(asker)
        else:
            self._script_event(asker, boot)
        if boot.decision.action is Action.LOCAL_DISK and ROUTES[boot.decision.local_boot].missing:
            return missing()  # the way this machine's firmware needs
        return text_reply(text)

    def _script(self, output: str, asker: Asker, boot: Boot) -> str:
        parts = self.desk.parts
        return render_script(
            parts.environment, boot.decision, asker.firmware, boot.machine, parts.cluster(), parts.links, boot.token,
            output=output, mac=asker.mac, at=parts.now(),
        )  # fmt: skip

    def _script_event(self, asker: Asker, boot: Boot) -> None:
        if request.method != "GET":
            return
        decision = boot.decision
        self.desk.counts.add(f'http_scripts{{action="{decision.action}"}}')
        if decision.action is Action.REFUSE:
            heard = self.desk.listens_to("refused", f"{boot.mac} {asker.source}")
            if heard and self.desk.has_room(boot.mac if boot.mac in self.desk.parts.cluster().by_mac else ""):
                self.desk.record(boot.mac, Http.SCRIPT_REFUSED, f"{decision.reason} (from {asker.source})", "warning")
            return
        if boot.machine is None and not self.desk.listens_to("script for another", boot.mac):
            return  # not from its own address
        # What others ask for in its name leaves its own boots their room.
        if not self.desk.listens_to_machine(Http.SCRIPT if boot.machine else "script for another", boot.mac):
            return
        token = f", token {name_token(digest_token(boot.token))}" if boot.token else ""
        words = describe_script(decision.action, _words(asker.firmware), decision.reason)
        self.desk.record(boot.mac, Http.SCRIPT, f"{words}{token}")

    def _sight(self, asker: Asker) -> None:
        """A machine that is not in the description asked: a place in the list, at most every few seconds."""
        now = self.desk.parts.now()
        self.desk.counts.add('http_refused{reason="unknown machine"}')
        if not self.desk.listens_to("unknown", asker.mac):
            return
        kept = next((each for each in self.desk.parts.store.load_sightings() if each.mac == asker.mac), None)
        sighting = Sighting(
            mac=asker.mac,
            first_at=kept.first_at if kept else now,
            last_at=now,
            count=kept.count + 1 if kept else 1,
            vendor=_vendor(asker.mac),
            uuid=str(asker.uuid or (kept.uuid if kept else "")),
            arch=_words(asker.firmware),
            address=str(asker.source),
            vendor_class=kept.vendor_class if kept else "",
            host_name=kept.host_name if kept else "",
        )
        with suppress(UserError):  # a full disk, which is told elsewhere: no reason for another answer
            self.desk.parts.store.save_sightings([sighting])
        if self.desk.has_room():
            self.desk.record(asker.mac, Http.UNKNOWN_MACHINE, f"asked for a script from {asker.source}", "warning")

    # -- public texts ---------------------------------------------------------
    def cloud_config(self, mac: str) -> Response:
        return self._public("cloud-config", mac)

    def ignition(self, mac: str) -> Response:
        return self._public("ignition", mac)

    def _public(self, output: str, text: str) -> Response:
        """Sextant's URL: what anyone may read, every secret left out."""
        cluster = self.desk.parts.cluster()
        try:
            machine = cluster.by_mac.get(parse_mac(text))
        except Expected:
            machine = None
        if machine is None:
            self.desk.counts.add('http_refused{reason="unknown machine"}')
            return missing()
        history = self.desk.parts.store.find_history(machine.mac)
        try:
            reply = self.desk.parts.render(output, self.desk.build_context(history), machine)
        except UserError as error:
            if self.desk.listens_to("public", machine.mac):
                self.desk.record(machine.mac, f"{output} failed", error.message, "error")
            return missing()
        self.desk.counts.add(f'http_public{{output="{output}"}}')
        return text_reply(reply.text, reply.content_type)


class WatchViews:
    """For people and programs that watch this server."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._metrics = Metrics(desk.parts)

    def healthz(self) -> Response:
        try:
            description = self.desk.parts.store.load_description()
        except UserError as error:
            logging.getLogger("bootstrapper").error("not healthy: %s", error.message)
            problem = "the state cannot be read: see the server's log"  # anyone may ask: no path, no reason
            return json_reply({"ok": False, "problem": problem}, status=503)
        return json_reply({"ok": True, "description": description[0] if description else None})

    def metrics(self) -> Response:
        self.desk.counts.flush()
        text, content_type = self._metrics.render()
        return text_reply(text, content_type)


def _words(firmware: Firmware) -> str:
    return str(firmware.kind) if firmware.code is not None else "firmware unknown"


def _vendor(mac: str) -> str:
    try:
        return str(EUI(mac).oui.registration().org)[:100]
    except NotRegisteredError:
        return ""


URLS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("/boot.ipxe", "scripts", "boot_ipxe", ("GET",)),
    ("/grub.cfg", "scripts", "grub_cfg", ("GET",)),
    ("/pxelinux.cfg", "scripts", "pxelinux_cfg", ("GET",)),
    ("/autoexec.ipxe", "scripts", "autoexec", ("GET",)),
    ("/m/<token>/install", "claims", "install", ("GET",)),
    ("/m/<token>/config", "claims", "config", ("GET",)),
    ("/m/<token>/report", "claims", "report", ("POST",)),
    ("/renew", "renew", "renew", ("POST",)),
    ("/bootstrap-token", "renew", "bootstrap_token", ("POST",)),
    ("/authorities", "renew", "authorities", ("GET",)),
    ("/cloud-config/<mac>", "scripts", "cloud_config", ("GET",)),
    ("/ignition/<mac>", "scripts", "ignition", ("GET",)),
    ("/registry-events", "pulls", "events", ("POST",)),
    ("/healthz", "watch", "healthz", ("GET",)),
    ("/metrics", "watch", "metrics", ("GET",)),
)
"Rule -> views -> method -> HTTP methods. `/assets/` is answered before Flask (assets.py)."
