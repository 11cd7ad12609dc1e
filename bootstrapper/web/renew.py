"""Renewal (design.md rule 9): what an installed machine asks for with a certificate that it has.

TLS only; whoever is refused, for whatever reason, sees the constant 404, and the admin is told the reason.
"""

from __future__ import annotations

from flask import Response, request

from bootstrapper.pki.cluster import ClusterPki
from bootstrapper.pki.leaves import Signer
from bootstrapper.pki.renew import ALARMS, RenewRefusal, ask_token, parse_proof, renew
from bootstrapper.web.desk import Desk, find_source
from bootstrapper.web.replies import json_reply, missing


class RenewViews:
    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def renew(self) -> Response:
        """POST {certificate, csr, signature}: the same certificate again, for the key of the CSR."""
        pki = self._find_pki()
        if pki is None:
            return missing()
        proof = parse_proof(request.get_data(), "csr")
        outcome = renew(pki, proof) if proof else RenewRefusal.MALFORMED
        if isinstance(outcome, RenewRefusal):
            return self._refuse("renewal", outcome)
        machine, leaf = outcome.owner.machine, outcome.owner.leaf
        self.desk.counts.add(f'http_renewals{{leaf="{leaf.name}"}}')
        again = ", which had been renewed before" if outcome.again else ""
        level = "warning" if outcome.again else "info"
        self.desk.record(machine.mac, "certificate renewed", f"{leaf.name} for {find_source()}{again}", level)
        return json_reply({"certificate": outcome.certificate, "authorities": outcome.authorities})

    def bootstrap_token(self) -> Response:
        """POST {certificate, request, signature}: for a machine whose token ran out before it joined."""
        pki = self._find_pki()
        if pki is None:
            return missing()
        proof = parse_proof(request.get_data(), "request")
        outcome = ask_token(pki, proof) if proof else RenewRefusal.MALFORMED
        if isinstance(outcome, RenewRefusal):
            return self._refuse("bootstrap token", outcome)
        machine, token = outcome
        self.desk.record(machine.mac, "bootstrap token", f"a new one for {find_source()}: the last ran out", "warning")
        return json_reply({"token": token})

    def authorities(self) -> Response:
        """What is trusted, for anyone: machines learn of a new authority here before anything is signed by it."""
        pki = self._find_pki()
        if pki is None:
            return missing()
        return json_reply({signer.value: pki.bundle(signer) for signer in Signer})

    def _find_pki(self) -> ClusterPki | None:
        if request.scheme != "https":
            self.desk.counts.add('http_refused{reason="renewal without TLS"}')
            return None
        return self.desk.parts.pki

    def _refuse(self, what: str, refusal: RenewRefusal) -> Response:
        source = find_source()
        self.desk.counts.add(f'http_renewals_refused{{reason="{refusal.name.lower()}"}}')
        # A machine that waits to join asks every few hours whether it needs another token.
        if refusal is not RenewRefusal.NOT_NEEDED and self.desk.listens_to("renew", source):
            level = "error" if refusal in ALARMS else "warning"
            mac = self.desk.parts.store.find_holder(source) or ""
            self.desk.record(mac, f"{what} refused", f"{refusal}, from {source}", level)
        return missing()
