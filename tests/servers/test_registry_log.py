"""What docker-registry 2.8.2 said of real requests, read with distrust."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bootstrapper.servers.registry_log import MOST_BYTES, Refusal, RefusalFile, find_refusal, make_hearer

LINE: dict[str, object] = {
    "err.code": "manifest unknown",
    "err.detail": "unknown tag=v1",
    "err.message": "manifest unknown",
    "http.request.method": "HEAD",
    "http.request.remoteaddr": "10.10.14.11:38440",
    "http.request.uri": "/v2/unmirrored/foo/manifests/v1?ns=docker.io",
    "http.request.useragent": 'he said "x" ${a}',
    "http.response.status": 404,
    "level": "error",
    "msg": "response completed with error",
    "vars.name": "unmirrored/foo",
    "vars.reference": "v1",
}
DIGEST = "sha256:" + "a" * 64
MISSED = Refusal(7.0, "10.10.14.11", "unmirrored/docker.io/foo:v1", 404, "manifest unknown")


@pytest.mark.parametrize(
    ("change", "image", "status", "error"),
    [
        ({}, "unmirrored/docker.io/foo:v1", 404, "manifest unknown"),
        ({"vars.reference": DIGEST}, f"unmirrored/docker.io/foo@{DIGEST}", 404, "manifest unknown"),
        ({"vars.reference": None, "vars.digest": DIGEST, "err.message": "blob unknown to registry"},
         f"unmirrored/docker.io/foo@{DIGEST}", 404, "blob unknown to registry"),
        ({"http.response.status": 500, "err.detail": "filesystem: read: EIO"},
         "unmirrored/docker.io/foo:v1", 500, "filesystem: read: EIO"),
        ({"http.request.uri": "/v2/?ns=a/../b"}, "unmirrored/foo:v1", 404, "manifest unknown"),
        ({"vars.name": "x" * 900}, "x" * 200, 404, "manifest unknown"),
    ],
)  # fmt: skip
def test_a_request_that_was_not_answered(change: dict[str, object], image: str, status: int, error: str) -> None:
    found = find_refusal({**LINE, **change}, 7.0)
    assert found == Refusal(7.0, "10.10.14.11", image, status, error)


@pytest.mark.parametrize(
    "change",
    [{"http.response.status": 405}, {"http.response.status": 200}, {"http.response.status": True}, {"vars.name": None},
     {"vars.name": ["x"]}, {"http.request.remoteaddr": 7}, {"http.request.remoteaddr": "10.10.14.11"},
     {"msg": "configured"}],
)  # fmt: skip
def test_what_is_no_missing_image(change: dict[str, object]) -> None:
    assert find_refusal({**LINE, **change}, 7.0) is None


def test_the_log_has_the_rest_in_words() -> None:
    put: list[Refusal] = []
    hear = make_hearer(put.append, lambda: 7.0)
    assert hear(json.dumps(LINE)) is None
    assert put == [MISSED]
    for change in ({"http.request.remoteaddr": "10.10.14.11"}, {"vars.name": None}):
        assert hear(json.dumps({**LINE, **change})) is None, "nobody fills the log by asking for nothing"
    assert put == [MISSED]
    said = hear(json.dumps({**LINE, "http.response.status": 503, "err.detail": "disk"}))
    assert said is not None
    assert said.startswith("error: response completed with error: manifest unknown: disk: /v2/unmirrored/")
    assert len(put) == 2
    assert hear('{"level":"warning","msg":"No HTTP secret provided"}') == "warning: No HTTP secret provided"
    for line in ("http: TLS handshake error from 10.0.0.9:1: EOF", "[1]", '{"level": ', "[" * 5000, ""):
        assert hear(line) == line[:1000]


def test_a_full_disk_leaves_it_to_the_log() -> None:
    def put(refusal: Refusal) -> None:
        raise OSError("full")

    assert make_hearer(put, lambda: 7.0)(json.dumps(LINE)) is not None


def test_what_is_put_is_taken_once(tmp_path: Path) -> None:
    file = RefusalFile(tmp_path / "refused")
    assert file.take() == []
    other = Refusal(8.0, "10.10.14.12", 'a/b\n"', 500, "\udcff")
    file.put(MISSED)
    file.put(other)
    with (tmp_path / "refused").open("ab") as cut:
        cut.write(b'{"at": 9.0, "addr')
    assert file.take() == [MISSED, other]
    assert (file.take(), list(tmp_path.iterdir())) == ([], [])


def test_who_asks_without_end_gets_no_more_room(tmp_path: Path) -> None:
    file = RefusalFile(tmp_path / "refused")
    for _ in range(4000):
        file.put(MISSED)
    assert MOST_BYTES <= (tmp_path / "refused").stat().st_size < MOST_BYTES + 1000
