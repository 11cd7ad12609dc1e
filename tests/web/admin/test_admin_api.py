"""The API's values and faults."""

from __future__ import annotations

from adminplane import NODE1, AdminPlane


def test_the_rack_at_a_glance(admin: AdminPlane) -> None:
    found = admin.get("/machines")
    assert [each["host"] for each in found][:2] == ["node1", "node2"]
    assert found[0]["mac"] == NODE1
    assert found[0]["state"] == "armed"
    assert found[0]["address"] == "10.10.14.11"
    assert found[0]["last_event"] is None


def test_every_view_answers(admin: AdminPlane) -> None:
    for path in ("/machines/node1", f"/machines/{NODE1}", "/events", "/unknown", "/description", "/status", "/audit",
                 "/certificates", "/description/revisions", "/description/revisions/1"):  # fmt: skip
        admin.get(path)
    assert admin.ask("GET", "/api/v1/machines/node1/config/cloud-config").text.startswith("#cloud-config")


def test_without_a_caller_nothing_is_told(admin: AdminPlane) -> None:
    assert admin.browser().get("/api/v1/machines").status_code == 401
    assert admin.browser().get("/api/v1/nothing").status_code == 401
