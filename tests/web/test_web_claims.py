"""Every way a claim can be wrong ends in one constant 404."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rack import NODE1_MAC, NODE4_MAC, make_cluster, make_machine

from bootstrapper.boot.history import History, MachineState

URLS = ["/m/{}/install", "https:/m/{}/install", "https:/m/{}/config", "https:/m/{}/report"]


def ask(plane, url, token, source="10.10.14.11"):
    if url.endswith("report"):
        body = {"step": "installed", "detail": "", "generation": 1}
        reply = plane.get(url.format(token), source, "POST", json=body)
    else:
        reply = plane.get(url.format(token), source)
    return reply.status, sorted(reply.headers), reply.data


@pytest.fixture
def unknown(plane):
    """The reply for a token nobody minted: what every other refusal must look like."""
    reply = ask(plane, "https:/m/{}/config", "x" * 43, "10.10.14.77")
    assert reply[0] == "404 NOT FOUND"
    assert reply[2] == b"not found\n"
    plane.events.clear()
    return reply


def close(plane):
    plane.store.save_history(NODE1_MAC, History(wanted=1, done=1, state=MachineState.INSTALLED))


def order_again(plane):
    plane.store.change_history(NODE1_MAC, lambda history: replace(history, wanted=2))


def expire(plane):
    plane.clock += 6 * 3600 + 1


def remove(plane):
    plane.cluster = make_cluster(make_machine(NODE4_MAC, "node4"))


FAULTS = {"done": close, "another generation": order_again, "expired": expire, "not described": remove}


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_token_whose_time_is_over(plane, unknown, url, fault):
    plane.boot()
    FAULTS[fault](plane)
    plane.events.clear()
    assert ask(plane, url, plane.tokens[0]) == unknown
    assert plane.events[-1].step in ("claim refused", "report refused")
    assert plane.tokens[0] not in plane.events[-1].detail


@pytest.mark.parametrize("url", URLS)
def test_from_another_address(plane, unknown, url):
    plane.boot()
    assert ask(plane, url, plane.tokens[0], "10.10.14.66") == unknown
    if not url.endswith("report"):
        assert (plane.events[-1].step, plane.events[-1].level) == ("claim refused", "error")


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize(
    "token", ["x", "x" * 42, "x" * 44, "%00" * 43, "..", "a/b", "x" * 300, "é" * 43, "' OR 1=1 --"]
)
def test_what_is_no_token(plane, unknown, url, token):
    assert ask(plane, url, token) == unknown


def test_a_newer_boot_takes_the_claim_over(plane, unknown):
    plane.boot()
    plane.clock += 60
    plane.boot()
    assert ask(plane, "https:/m/{}/config", plane.tokens[0]) == unknown
    assert ask(plane, "https:/m/{}/config", plane.tokens[1])[0] == "200 OK"


@pytest.mark.parametrize("url", ["/m/{}/install", "https:/m/{}/install", "https:/m/{}/config"])
def test_the_older_boots_token_is_refused_before_anything_is_rendered(plane, unknown, url):
    """Else its 404 would come later than others."""
    plane.boot()
    plane.clock += 60
    plane.boot()
    plane.render_fails = True
    assert ask(plane, url, plane.tokens[0]) == unknown
    assert plane.events[-1].detail.startswith("a newer boot took its place")


@pytest.mark.parametrize("url", ["/m/{}/config", "/m/{}/report"])
def test_nothing_secret_without_tls(plane, unknown, url):
    plane.boot()
    assert ask(plane, url, plane.tokens[0]) == unknown
    assert plane.store.find_token(_digest(plane.tokens[0])).redeemed_at is None


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "X"])
def test_only_get_claims(plane, method):
    plane.boot()
    reply = plane.get(f"https:/m/{plane.tokens[0]}/config", method=method)
    assert reply.status_code == 404
    assert "Allow" not in reply.headers
    assert plane.store.find_token(_digest(plane.tokens[0])).redeemed_at is None


def test_a_claim_may_be_repeated_shortly_then_never(plane, unknown):
    plane.boot()
    token = plane.tokens[0]
    for _ in range(3):
        assert ask(plane, "https:/m/{}/config", token)[0] == "200 OK"
        plane.clock += 10
    assert ask(plane, "https:/m/{}/config", token) == unknown
    assert (plane.events[-1].detail[:14], plane.events[-1].level) == ("claimed before", "error")


def test_the_grace_ends_when_the_installer_says_that_it_has_the_configuration(plane, unknown):
    plane.boot()
    token = plane.tokens[0]
    assert ask(plane, "https:/m/{}/config", token)[0] == "200 OK"
    assert ask(plane, "https:/m/{}/config", token)[0] == "200 OK"
    assert (plane.events[-1].step, plane.events[-1].level) == ("config claimed", "warning")
    assert plane.report(token, "config").status_code == 200
    assert ask(plane, "https:/m/{}/config", token) == unknown
    assert (plane.events[-1].detail[:14], plane.events[-1].level) == ("claimed before", "error")
    assert plane.report(token, "installed").status_code == 200


def test_saying_so_before_the_claim_changes_nothing(plane, unknown):
    plane.boot()
    token = plane.tokens[0]
    assert plane.report(token, "config").status_code == 200
    assert ask(plane, "https:/m/{}/config", token)[0] == "200 OK"


def test_an_installed_machine_claims_nothing(plane, unknown):
    token = plane.install()
    assert ask(plane, "https:/m/{}/config", token) == unknown
    assert ask(plane, "/m/{}/install", token) == unknown
    assert plane.events[-1].detail.startswith("sealed")


def test_a_valid_claim_that_cannot_be_answered_is_told_to_ask_again(plane, unknown):
    plane.boot()
    token = plane.tokens[0]
    plane.render_fails = True
    for url in ("/m/{}/install", "https:/m/{}/config"):
        assert ask(plane, url, token)[0] == "503 SERVICE UNAVAILABLE"
        assert ask(plane, url, token, "10.10.14.66") == unknown
    plane.render_fails = False
    assert ask(plane, "https:/m/{}/config", token)[0] == "200 OK"


def test_installed_counts_only_after_the_claim(plane, unknown):
    plane.boot()
    assert ask(plane, "https:/m/{}/report", plane.tokens[0]) == unknown
    assert plane.store.find_history(NODE1_MAC).done == 0


def test_a_report_moves_only_its_own_machine(plane):
    plane.boot()
    plane.get(f"https:/m/{plane.tokens[0]}/config")
    plane.report(plane.tokens[0], "installed")
    assert plane.store.find_history(NODE4_MAC) == History()


@pytest.mark.parametrize(
    "body",
    [b"", b"x", b"[]", b"null", b"{}", b'{"step":"installed"}', b'{"step":"nonsense","generation":1}',
     b'{"step":"disk","generation":"1"}', b'{"step":"disk","generation":true}', b'{"step":"disk","generation":1.0}',
     b'{"step":"disk","generation":1,"detail":5}', b'{"step":["disk"],"generation":1}', b"\xff\xfe", b"[" * 5000],
)  # fmt: skip
def test_a_malformed_report_is_a_400_to_a_valid_token_only(plane, unknown, body):
    plane.boot()
    url = f"https:/m/{plane.tokens[0]}/report"
    assert plane.get(url, method="POST", data=body).status_code == 400
    reply = plane.get(url, "10.10.14.66", "POST", data=body)
    assert (reply.status, sorted(reply.headers), reply.data) == unknown


def test_a_report_for_another_generation(plane, unknown):
    plane.boot()
    reply = plane.report(plane.tokens[0], "disk", generation=2)
    assert (reply.status, sorted(reply.headers), reply.data) == unknown


def test_a_report_too_large(plane):
    plane.boot()
    reply = plane.get(f"https:/m/{plane.tokens[0]}/report", method="POST", data=b"x" * 20_000)
    assert reply.status_code == 413


def test_the_end_of_the_journal_is_kept_with_what_failed_and_without_keys(plane):
    plane.boot()
    token = plane.tokens[0]
    tail = f"curl: (22) 503\nGET https://10.10.14.253/m/{token}/config\n\x1b[1mpanic: disk full"
    body = {"step": "failed", "detail": f"no config from /m/{token}/config", "generation": 1, "tail": tail}
    assert plane.get(f"https:/m/{token}/report", method="POST", json=body).status_code == 200
    event = plane.events[-1]
    assert (event.service, event.step, event.level) == ("installer", "failed", "error")
    assert event.detail == "no config from /m/[masked]/config"
    assert event.more == "curl: (22) 503\nGET https://10.10.14.253/m/[masked]/config\npanic: disk full"
    assert token not in repr(plane.events)
    assert token not in repr(plane.store.find_history(NODE1_MAC))


def test_a_percentage_is_an_event_and_no_transaction(plane):
    plane.boot()
    token = plane.tokens[0]
    plane.get(f"https:/m/{token}/config")

    def tell(detail):
        body = {"step": "image", "detail": detail, "generation": 1}
        return plane.get(f"https:/m/{token}/report", method="POST", json=body).status_code

    assert tell("writing 1.2.3 from http://x to /dev/sda") == 200
    mark, _ = plane.store.changed_histories(0)
    assert tell("42 % of the image") == 200
    assert plane.store.changed_histories(0)[0] == mark
    assert plane.events[-1].detail == "42 % of the image"
    assert plane.store.find_history(NODE1_MAC).reason == "writing 1.2.3 from http://x to /dev/sda"


def test_a_machine_that_reports_without_end_is_told_to_wait(plane):
    token = plane.install()
    counted = [plane.report(token, "unit").status_code for _ in range(100)]
    assert 50 <= counted.count(200) <= 60
    assert counted[-1] == 503
    plane.clock += 1
    assert [plane.report(token, "unit").status_code for _ in range(3)] == [200, 200, 503]
    assert 'reason="too many reports"' in plane.get("/metrics").text
    plane.clock += 3600
    assert [plane.report(token, "unit").status_code for _ in range(60)].count(200) == 60


def test_a_unit_that_failed_is_a_warning(plane):
    token = plane.install()
    body = {"step": "unit", "detail": "etcd.service: failed", "generation": 1, "tail": "panic"}
    assert plane.get(f"https:/m/{token}/report", method="POST", json=body).status_code == 200
    event = plane.events[-1]
    assert (event.service, event.step, event.level, event.more) == ("system", "unit", "warning", "panic")


BOARD = "4c4c4544-0042-3510-8048-b4c04f4e4232"
TURNED = "44454c4c-4200-1035-8048-b4c04f4e4232"
"The same with its first three fields in the other byte order, as firmware before SMBIOS 2.6 tells it."


def test_a_claim_is_of_the_board_that_booted(plane, unknown):
    plane.get(f"/boot.ipxe?mac={NODE1_MAC}&uuid={BOARD}&arch=7")
    url = "https:/m/{}/config"
    for told in ("", "?uuid=", "?uuid=x", f"?uuid={BOARD[:-1]}3", "?uuid=00000000-0000-0000-0000-000000000000"):
        assert ask(plane, url + told, plane.tokens[0]) == unknown
        assert (plane.events[-1].detail[:10], plane.events[-1].level) == ("wrong UUID", "error")
    assert ask(plane, f"{url}?uuid={BOARD.upper()}", plane.tokens[0])[0] == "200 OK"
    assert ask(plane, f"{url}?uuid={TURNED}", plane.tokens[0])[0] == "200 OK"
    assert ask(plane, "/m/{}/install", plane.tokens[0])[0] == "200 OK"


@pytest.mark.parametrize("told", ["", "x", "00000000-0000-0000-0000-000000000000", "f" * 32])
def test_a_board_without_a_uuid_is_not_asked_for_one(plane, told):
    plane.get(f"/boot.ipxe?mac={NODE1_MAC}&uuid={told}&arch=7")
    assert ask(plane, "https:/m/{}/config?uuid=" + BOARD, plane.tokens[0])[0] == "200 OK"
    assert ask(plane, "https:/m/{}/config", plane.tokens[0])[0] == "200 OK"


def test_a_reports_detail_is_cleaned(plane):
    plane.boot()
    body = {"step": "disk", "detail": "a\nb\x1b[31m" + "x" * 900, "generation": 1}
    plane.get(f"https:/m/{plane.tokens[0]}/report", method="POST", json=body)
    detail = plane.events[-1].detail
    assert detail.startswith("a bxx")
    assert len(detail) == 500


def test_guesses_do_not_flood_the_log(plane):
    for number in range(50):
        plane.get(f"https:/m/{number:043d}/config", "10.10.14.66")
    assert len(plane.events) == 1
    plane.clock += 11
    plane.get(f"https:/m/{'y' * 43}/config", "10.10.14.66")
    assert len(plane.events) == 2


def _digest(token):
    import hashlib

    return hashlib.sha256(token.encode()).hexdigest()
