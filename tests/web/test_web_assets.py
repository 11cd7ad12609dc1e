"""`/assets/` as RFC 9110 and firmware want it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bootstrapper.web.ranges import UNSATISFIABLE, parse_range

URL = "/assets/flatcar/kernel.efi"


@pytest.fixture
def kernel(plane):
    path = plane.assets / "flatcar" / "kernel.efi"
    path.parent.mkdir()
    path.write_bytes(bytes(range(100)))
    os.utime(path, (1_800_000_000, 1_800_000_000))
    return path


def test_get_and_head(plane, kernel):
    reply, head = plane.get(URL), plane.get(URL, method="HEAD")
    assert (reply.status_code, reply.data) == (200, bytes(range(100)))
    assert (head.status_code, head.data) == (200, b"")
    assert dict(reply.headers) == dict(head.headers)
    assert reply.headers["Content-Type"] == "application/efi"
    assert reply.headers["Content-Length"] == "100"
    assert reply.headers["Last-Modified"] == "Fri, 15 Jan 2027 08:00:00 GMT"
    assert reply.headers["ETag"].startswith('"')


@pytest.mark.parametrize(
    ("header", "status", "content_range", "data"),
    [("bytes=0-9", 206, "bytes 0-9/100", bytes(range(10))),
     ("bytes=90-", 206, "bytes 90-99/100", bytes(range(90, 100))),
     ("bytes=-5", 206, "bytes 95-99/100", bytes(range(95, 100))), ("bytes=99-500", 206, "bytes 99-99/100", b"c"),
     ("bytes=100-", 416, "bytes */100", b""), ("bytes=0-1,5-6", 200, None, bytes(range(100))),
     ("bytes=5-1", 200, None, bytes(range(100))), ("lines=1-2", 200, None, bytes(range(100)))],
)  # fmt: skip
def test_ranges(plane, kernel, header, status, content_range, data):
    reply = plane.get(URL, headers={"Range": header})
    assert (reply.status_code, reply.headers.get("Content-Range"), reply.data) == (status, content_range, data)
    assert reply.headers["Content-Length"] == str(len(data))


def test_resuming_as_edk2_does(plane, kernel):
    etag = plane.get(URL).headers["ETag"]
    reply = plane.get(URL, headers={"Range": "bytes=50-99", "If-Match": etag})
    assert (reply.status_code, reply.data) == (206, bytes(range(50, 100)))
    kernel.write_bytes(b"x" * 100)
    assert plane.get(URL, headers={"Range": "bytes=50-99", "If-Match": etag}).status_code == 412
    assert plane.get(URL, headers={"Range": "bytes=50-99", "If-Range": etag}).status_code == 200


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [("If-Unmodified-Since", "Fri, 15 Jan 2027 08:00:00 GMT", 206),
     ("If-Unmodified-Since", "Fri, 15 Jan 2027 07:59:59 GMT", 412),
     ("If-Range", "Fri, 15 Jan 2027 08:00:00 GMT", 206), ("If-Range", "Fri, 15 Jan 2027 07:00:00 GMT", 200),
     ("If-Modified-Since", "Fri, 15 Jan 2027 08:00:00 GMT", 304), ("If-Modified-Since", "nonsense", 206),
     ("If-None-Match", "*", 304), ("If-None-Match", '"x"', 206), ("If-Match", "*", 206), ("If-Match", '"x"', 412)],
)  # fmt: skip
def test_conditions(plane, kernel, header, value, status):
    assert plane.get(URL, headers={"Range": "bytes=0-1", header: value}).status_code == status


def test_another_file_has_another_tag(plane, kernel):
    before = plane.get(URL).headers["ETag"]
    other = kernel.with_name("new")
    other.write_bytes(bytes(100))
    os.utime(other, (1_800_000_000, 1_800_000_000))
    other.replace(kernel)
    assert plane.get(URL).headers["ETag"] != before


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "X"])
def test_other_methods(plane, kernel, method):
    assert plane.get(URL, method=method).status_code == 404


def test_an_empty_file_and_a_missing_root(plane):
    (plane.assets / "empty").write_bytes(b"")
    assert plane.get("/assets/empty").headers["Content-Length"] == "0"
    assert plane.get("/assets/empty", headers={"Range": "bytes=0-"}).status_code == 416
    (plane.assets / "empty").unlink()
    plane.assets.rmdir()
    assert plane.get("/assets/empty").status_code == 404


def test_a_link_in_the_way_is_not_followed(plane, kernel):
    (plane.assets / "other").symlink_to("flatcar")
    assert plane.get("/assets/other/kernel.efi").status_code == 404


def open_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_no_descriptor_is_left_open(plane, kernel):
    before = open_descriptors()
    for headers in ({}, {"Range": "bytes=0-1"}, {"Range": "bytes=200-"}, {"If-None-Match": "*"}):
        for method in ("GET", "HEAD", "POST"):
            plane.get(URL, method=method, headers=headers).close()
            plane.get("/assets/flatcar", method=method).close()
            plane.get("/assets/flatcar/x/y", method=method).close()
    assert open_descriptors() == before


@pytest.mark.parametrize(
    ("header", "size", "expected"),
    [("bytes=0-0", 1, range(1)), ("bytes=-9", 5, range(5)), ("bytes=-0", 5, UNSATISFIABLE),
     ("bytes=-5", 0, UNSATISFIABLE), ("bytes=0-", 0, UNSATISFIABLE), ("bytes=", 5, None), ("bytes=-", 5, None),
     ("bytes=1-2;x", 5, None), ("bytes=٣-٤", 9, None), ("Bytes = 1-2 ", 5, range(1, 3))],
)  # fmt: skip
def test_parse_range(header, size, expected):
    found = parse_range(header, size)
    assert found == expected
    assert (found is UNSATISFIABLE) is (expected is UNSATISFIABLE)
