"""What the API takes and answers, as JSON Schema (draft 2020-12): the schemas of its OpenAPI document.

Every answer's object is closed and whole: a key that is missing here, or not always there, is found by a test.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from bootstrapper.boot.causes import Cause
from bootstrapper.boot.history import MachineState
from bootstrapper.boot.lifecycle import Order
from bootstrapper.boot.timeline import Outcome, Phase
from bootstrapper.cluster.plan import Effect

Schema: TypeAlias = dict[str, Any]

TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
FLAG: Schema = {"type": "boolean"}
AT: Schema = {"type": "number", "description": "Seconds since 1970 (wall clock of the server)."}
MAC: Schema = {"type": "string", "pattern": "^([0-9a-f]{2}:){5}[0-9a-f]{2}$"}
LEVEL: Schema = {"enum": ["info", "warning", "error"]}


def whole(**properties: Schema) -> Schema:
    """An object of an answer: exactly these keys."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def body(required: tuple[str, ...], **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def many(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def maybe(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def words(kind: Any) -> Schema:
    return {"enum": [each.value for each in kind]}


def say(schema: Schema, description: str) -> Schema:
    return {**schema, "description": description}


_MACHINE: dict[str, Schema] = {
    "mac": say(MAC, "The first MAC: the machine's identity."),
    "macs": many(MAC),
    "host": TEXT,
    "address": say(TEXT, "Fixed or leased; empty: none yet."),
    "roles": many(TEXT),
    "profile": maybe(TEXT),
    "os": TEXT,
    "state": words(MachineState),
    "state_at": say(AT, "Since when; 0: since ever."),
    "reason": TEXT,
    "held": say(TEXT, "Why it is on hold; empty: it is not."),
    "wanted": say(WHOLE, "The install generation that was ordered ..."),
    "done": say(WHOLE, "... and the one that is on its disk."),
    "openings": say(WHOLE, "How often the installer was served for the open order; 0 when none is open."),
    "wipe": say(FLAG, "The open install may erase others' data on its disk."),
    "older_plan": say(many(TEXT), "What the description says of it now and its disk does not have: needs a reinstall."),
    "overdue": say(TEXT, "What it means that the state lasts so long; empty: it is in time."),
    "exits": say(many(words(Order)), "The orders that are not refused now."),
    "last_event": maybe(ref("Event")),
    "progress": maybe(whole(step=TEXT, percent=maybe(WHOLE))),
    "missing_assets": say(many(TEXT), "Files below /assets/ that it needs and that are not there."),
    "certificate_until": say(maybe(TEXT), "When the first of its certificates ends (ISO 8601)."),
    "renews": say(FLAG, "Whether they are renewed when it asks; not those of a machine that was forgotten."),
}
_ADVICE = many(ref("Problem"))
MORE = say(TEXT, "Lines beneath it: the end of the machine's own log, with what went wrong.")

SCHEMAS: Mapping[str, Schema] = {
    "Error": {
        "type": "object",
        "properties": {"error": TEXT, "hint": TEXT, "problems": _ADVICE},
        "required": ["error", "hint"],
        "additionalProperties": False,
    },
    "Problem": whole(
        line=say(WHOLE, "Of the description; 0: the whole file is meant."),
        path=say(TEXT, "The key, `machines[2].mac`."),
        message=TEXT,
        hint=TEXT,
    ),
    "Machine": whole(**_MACHINE, stopped=say(TEXT, "The cause why it stands still, in words; empty: none is known.")),
    "MachineInFull": whole(**_MACHINE, boots=many(ref("Boot")), diagnosis=maybe(ref("Diagnosis"))),
    "Boot": whole(
        started_at=AT,
        ended_at=maybe(AT),
        firmware=TEXT,
        phase={"enum": [each.name.lower() for each in Phase]},
        outcome=words(Outcome),
        steps=many(whole(at=AT, service=TEXT, step=TEXT, detail=TEXT, level=LEVEL, more=MORE)),
    ),
    "Diagnosis": whole(
        cause=words(Cause),
        title=TEXT,
        what_to_do=TEXT,
        since=AT,
        evidence=many(TEXT),
        page=say(TEXT, "Where the documentation says more."),
    ),
    "Order": body(
        ("order",), order=words(Order), wipe=say(FLAG, "With `reinstall`: over anybody's data, this once."), reason=TEXT
    ),
    "Move": body(("to",), to=say(TEXT, "The new MAC, in any usual spelling.")),
    "Ordered": whole(
        mac=MAC,
        changed=say(FLAG, "False: it was so already."),
        warnings=many(TEXT),
        machine=maybe(ref("MachineInFull")),
    ),
    "Event": whole(id=WHOLE, at=AT, mac=TEXT, host=TEXT, service=TEXT, step=TEXT, detail=TEXT, level=LEVEL),
    "Unknown": whole(
        mac=MAC,
        vendor=TEXT,
        uuid=TEXT,
        arch=say(TEXT, "`amd64`, `arm64`, ...; empty: it has not said."),
        firmware=TEXT,
        address=TEXT,
        vendor_class=say(TEXT, "What its DHCP client calls itself (option 60); its own words, as the next."),
        host_name=say(TEXT, "What it calls itself (option 12)."),
        first_at=AT,
        last_at=AT,
        count=WHOLE,
        lines=say(TEXT, "YAML for the description's `machines`."),
        diagnosis=maybe(ref("Diagnosis")),
    ),
    "Forgotten": whole(mac=MAC),
    "Adopt": body(
        (), host=TEXT, roles=many(TEXT), ip=say(TEXT, "An address, or `auto`."), save=say(FLAG, "Default: only show.")
    ),
    "Adopted": {
        "type": "object",
        "properties": {
            "text": say(TEXT, "The whole description with the machine in it."),
            "lines": TEXT,
            "ok": FLAG,
            "problems": _ADVICE,
            "advice": _ADVICE,
            "saved": FLAG,
            "revision": maybe(WHOLE),
            "in_force": FLAG,
            "restart": many(TEXT),
            "replaced": maybe(TEXT),
        },
        "required": ["text", "lines", "ok", "problems", "advice", "saved", "revision"],
        "additionalProperties": False,
    },
    "Description": whole(
        revision=say(WHOLE, "In force; 0: none yet."),
        text=say(TEXT, "The file's, in force or not."),
        file=TEXT,
        writable=FLAG,
        obstacle=say(TEXT, "Why it is not writable, and what to do; empty when it is."),
        digest=say(TEXT, "Of the text, for `base_digest`."),
        in_force=say(FLAG, "Whether the text is the one that is served."),
    ),
    "SaveDescription": body(
        ("text", "base_revision"),
        text=TEXT,
        base_revision=say(WHOLE, "The `revision` that the text was made from."),
        base_digest=say(TEXT, "The `digest` that the text was made from."),
    ),
    "Saved": whole(
        revision=WHOLE,
        in_force=FLAG,
        restart=say(many(TEXT), "What takes effect only when the server is started again."),
        replaced=say(maybe(TEXT), "Where the text is kept that was written over and is in no revision."),
    ),
    "Text": body(("text",), text=TEXT),
    "Checked": whole(ok=FLAG, problems=_ADVICE, advice=_ADVICE),
    "Plan": whole(
        machines=many(whole(mac=MAC, host=TEXT, effect=words(Effect), changes=many(TEXT))), server=many(TEXT)
    ),
    "Revision": whole(revision=WHOLE, at=AT, note=TEXT),
    "RevisionInFull": whole(revision=WHOLE, at=AT, note=TEXT, text=TEXT),
    "Certificate": whole(
        name=TEXT,
        machine=TEXT,
        subject=TEXT,
        names=many(TEXT),
        not_after=TEXT,
        days_left=WHOLE,
        authority=TEXT,
        key_here=FLAG,
    ),
    "AuditEntry": whole(
        id=WHOLE, at=AT, who=TEXT, what=TEXT, target=TEXT, detail=TEXT, outcome={"enum": ["done", "refused"]}
    ),
    "Status": whole(
        version=TEXT,
        cluster=TEXT,
        domain=TEXT,
        revision=maybe(WHOLE),
        description=TEXT,
        refused=say(
            maybe(whole(at=AT, file=TEXT, problem=TEXT, hint=TEXT, more=WHOLE)),
            "The description's file as it was refused, with its first problem; null: what it says is in force.",
        ),
        now=AT,
        since=say(AT, "When this process began: the start, or the latest reload."),
        machines=WHOLE,
        states={"type": "object", "additionalProperties": WHOLE},
        held=WHOLE,
        overdue=WHOLE,
        unknown=WHOLE,
        versions=whole(kubernetes=TEXT, etcd=TEXT, flannel=TEXT),
        services=many(whole(name=TEXT, on=FLAG)),
        warnings=say(many(whole(text=TEXT, hint=TEXT, page=TEXT)), "What is wrong, and not with one machine."),
        interface=TEXT,
        address=TEXT,
        listens=maybe(TEXT),
        assets=TEXT,
    ),
    "LogIn": body(("token",), token=say(TEXT, "The text of STATE/admin.token.")),
    "LoggedIn": whole(csrf=say(TEXT, "For the header X-CSRF-Token of each change.")),
    "Nothing": whole(),
    "Document": {"type": "object", "required": ["openapi", "info", "paths"]},
}
