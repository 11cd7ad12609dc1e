"""HTTP gives exactly what `decide` says, whatever has happened to the machine."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rack import NODE1_MAC, make_cluster

from bootstrapper.boot.decide import Action, decide
from bootstrapper.boot.firmware import Firmware, Kind, Stage, identify
from bootstrapper.boot.history import History, MachineState
from bootstrapper.cluster.model import UnknownPolicy
from bootstrapper.web.booting import answer_boot, parse_asker

NOW = 1_800_000_000.0
histories = st.builds(
    History,
    wanted=st.integers(0, 3),
    done=st.integers(0, 3),
    state=st.sampled_from(list(MachineState)),
    held=st.sampled_from(["", "by the admin"]),
    begun=st.booleans(),
    opened_at=st.lists(st.sampled_from([-9000.0, -1700.0, -600.0, -60.0, -5.0]), max_size=5).map(
        lambda ages: tuple(sorted(NOW + age for age in ages))
    ),
    wipe=st.booleans(),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    history=histories,
    policy=st.sampled_from(list(UnknownPolicy)),
    known=st.booleans(),
    code=st.sampled_from([None, 0, 6, 7, 9, 11, 16, 255]),
    source=st.sampled_from(["10.10.14.11", "10.10.14.66"]),
    opens=st.booleans(),
)
def test_a_token_is_minted_exactly_when_decide_says_install(plane, history, policy, known, code, source, opens):
    plane.cluster = make_cluster(unknown=policy)
    plane.clock = NOW
    plane.tokens.clear()
    plane.store.seal(NODE1_MAC)
    plane.store.save_history(NODE1_MAC, history)
    mac = NODE1_MAC if known else "52:54:00:12:34:56"
    asker = parse_asker({"mac": mac} | ({} if code is None else {"arch": str(code)}), IPv4Address(source))
    assert asker is not None
    firmware = Firmware(Kind.BIOS, Stage.IPXE) if code is None else identify("", (code,), "iPXE", True)
    expected = decide(plane.cluster.by_mac.get(mac), policy, firmware, history)

    unique = f"{plane.store.save_description(str((history, policy, known, code, source, opens)), 0.0):043d}"
    boot = answer_boot(replace(plane.make_parts(), new_token=lambda: unique), asker, open_it=opens)

    after = plane.store.find_history(NODE1_MAC)
    recent = [at for at in history.opened_at if NOW - at < 1800]
    too_often = len(recent) >= 3 and NOW - recent[-1] >= 10
    if expected.action is not Action.INSTALL:
        assert boot.decision.action is expected.action
        assert boot.token is None
        assert after == history
    elif source != "10.10.14.11":
        assert (boot.decision.action, boot.token, after) == (Action.REFUSE, None, history)
    elif not opens:
        assert (boot.decision.action, boot.token, after) == (Action.INSTALL, None, history)
    elif too_often:
        assert (boot.decision.action, boot.token, after.state) == (Action.REFUSE, None, MachineState.HELD)
    else:
        assert (boot.decision.action, boot.token) == (Action.INSTALL, unique)
        assert boot.decision.generation == history.wanted > history.done
