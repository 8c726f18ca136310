"""The server: who may ask it what, how it stands slow readers and growing runs, how it ends."""

import contextlib
import hashlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.parse

import numpy as np
import pytest

from kernelearn.errors import ArgumentError
from kernelearn.recording.files.manifest import MANIFEST
from kernelearn.view.page.blocks import read_blocks
from kernelearn.view.page.frontend import Frontend
from kernelearn.view.page.library import Library
from kernelearn.view.page.ranges import MOST_BYTES, _bounds
from kernelearn.view.page.security import Gate
from kernelearn.view.page.serving import PageServer

from .runs import recorded


@contextlib.contextmanager
def serving(folders, **options):
    server = PageServer(Library(folders), **options)
    thread = server.start()
    yield server
    server.stop()
    thread.join(60)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def server(small):
    with serving([small[0].folder]) as running:
        yield running


def asked(server, path, method="GET", body=None, token=True, **headers):
    """(status, headers, body) of a request, with the token as a program gives it."""
    own = {"Authorization": f"Bearer {server.gate.token}"} if token else {}
    line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    given = {**own, **{name.replace("_", "-"): value for name, value in headers.items()}}
    line.putrequest(method, path, skip_host="Host" in given)
    for name, value in given.items():
        line.putheader(name, value)
    if body is not None:
        line.putheader("Content-Length", str(len(body)))
    line.endheaders(body)
    answer = line.getresponse()
    content = answer.read()
    line.close()
    return answer.status, {k.lower(): v for k, v in answer.getheaders()}, content


def refusal(found):
    status, _, body = found
    return status, json.loads(body)["error"]["kind"]


API = "/api/v1/runs/small"


# --- who may ask


def test_the_token_becomes_a_cookie_and_leaves_the_address(server):
    status, headers, _ = asked(server, f"/?token={server.gate.token}", token=False)
    assert status == 303 and headers["location"] == "./"
    assert "HttpOnly" in headers["set-cookie"] and "SameSite" in headers["set-cookie"]
    cookie = headers["set-cookie"].partition(";")[0]
    assert server.gate.token not in cookie
    status, headers, body = asked(server, "/", token=False, Cookie=cookie)
    assert status == 200 and b"importmap" in body
    assert asked(server, API, token=False, Cookie=cookie)[0] == 200


def test_a_browser_at_an_address_of_another_start_is_told_in_plain_words(server):
    """As after a reload of a page whose server has been started again: its token is another one."""
    for path, token, words in (("/", False, "kernelearn view printed"), ("/nothing", True, "nothing at")):
        status, headers, body = asked(server, path, token=token, Accept="text/html,*/*;q=0.8")
        assert status == (404 if token else 403) and headers["content-type"].startswith("text/plain")
        assert words in body.decode() and b"{" not in body
    assert refusal(asked(server, API, token=False, Accept="text/html")) == (403, "token")


@pytest.mark.parametrize(
    "path", ["/", API, f"{API}/files/{MANIFEST}", f"{API}/live", "/static/main.js", "/nothing"]
)
def test_nothing_without_the_token(server, path):
    wrong = f"{server.gate.token}x"
    assert refusal(asked(server, path, token=False)) == (403, "token")
    assert refusal(asked(server, f"{path}?token={wrong}", token=False)) == (403, "token")
    assert refusal(asked(server, f"{path}?token=", token=False)) == (403, "token")
    assert refusal(asked(server, path, token=False, Cookie=f"{server.gate.cookie}={wrong}")) == (403, "token")
    assert refusal(asked(server, path, token=False, Authorization=f"Bearer {wrong}")) == (403, "token")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "127.0.0.1:1", "[::1", "a:b:c"]
)
def test_a_name_that_is_pointed_at_this_machine_is_refused(server, host):
    assert refusal(asked(server, API, Host=host)) == (403, "host")


def test_own_names_are_let_in(server):
    for name in ("127.0.0.1", "localhost", "LOCALHOST", "[::1]"):
        assert asked(server, API, Host=f"{name}:{server.port}")[0] == 200
    open_gate = Gate("0.0.0.0", 80)
    assert open_gate.is_own_host("192.168.1.7:80") and open_gate.is_own_host(socket.gethostname())
    assert not open_gate.is_own_host("evil.example:80") and not Gate("127.0.0.1", 80).is_own_host(
        "192.168.1.7:80"
    )


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost:1", "https://127.0.0.1:1"]
)
def test_another_page_is_refused(server, origin):
    assert refusal(asked(server, API, Origin=origin)) == (403, "origin")
    assert refusal(asked(server, f"{API}/control", "POST", b"{}", Origin=origin)) == (403, "origin")


def test_requests_that_another_site_makes_the_browser_send_are_refused(server):
    assert refusal(asked(server, API, Sec_Fetch_Site="cross-site")) == (403, "origin")
    assert (
        asked(
            server,
            f"/?token={server.gate.token}",
            token=False,
            Sec_Fetch_Site="cross-site",
            Sec_Fetch_Mode="navigate",
        )[0]
        == 303
    )
    cookie = f"{server.gate.cookie}={server.gate.session}"
    assert refusal(asked(server, f"{API}/picture", "POST", b"x", token=False, Cookie=cookie)) == (
        403,
        "origin",
    )


def test_a_browser_asks_once_for_what_an_address_says_the_content_of(server):
    body = asked(server, "/")[2].decode()
    addresses = re.findall(r"static/[\w.]+\?v=\w+", body)
    assert {one.partition("?")[0] for one in addresses} >= {
        "static/main.js",
        "static/app.js",
        "static/page.css",
    }
    assert body.count("static/") == len(addresses)
    for address in addresses:
        status, headers, content = asked(server, f"/{address}")
        assert status == 200 and "immutable" in headers["cache-control"]
        assert address.endswith(hashlib.sha256(content).hexdigest()[:16])
    for other in ("/static/main.js", "/static/main.js?v=0", "/"):
        assert asked(server, other)[1]["cache-control"] == "no-cache"
    assert asked(server, API)[1]["cache-control"] == "no-store"


def test_headers_of_every_answer(server):
    for path in ("/", API, "/static/main.js", "/nothing", f"{API}/weights?layer=conv&step=1"):
        _, headers, _ = asked(server, path)
        assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert "server" not in headers and "access-control-allow-origin" not in headers
    policy = asked(server, "/")[1]["content-security-policy"]
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy and "unsafe" not in policy
    assert "'sha256-" in policy and "frame-ancestors 'none'" in policy


# --- what may be asked


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/static/../server.py",
        "/static/%2e%2e/server.py",
        "/static/..%2fserver.py",
        "/static/..%5cserver.py",
        "/static//etc/passwd",
        "/static/%00",
        "/%2e%2e/%2e%2e/etc/passwd",
        f"{API}/files/..%2f..%2fetc%2fpasswd",
        f"{API}/files/%2e%2e",
        f"{API}/files/index.sqlite",
        f"{API}/files/writer.lock",
        "/api/v1/lessons/..%2f..%2fserver",
        "/api/v1/runs/..%2f..",
        "/api/v1/runs/%2fetc",
    ],
)
def test_paths_that_lead_outside_lead_nowhere(server, path):
    status, _, body = asked(server, path)
    assert status == 404 and json.loads(body)["error"]["kind"] in ("unknown", "method")


def test_only_reading_without_control(server):
    assert asked(server, API, "POST", b"{}")[0] == 405 and asked(server, API, "DELETE")[0] == 405
    assert refusal(asked(server, f"{API}/control", "POST", b'{"do": "pause"}')) == (403, "read-only")
    assert json.loads(asked(server, "/api/v1/runs")[2])["control"] is False


def test_control_of_a_run_that_is_not_trained_is_refused(small):
    with serving([small[0].folder], can_control=True) as running:
        assert json.loads(asked(running, "/api/v1/runs")[2])["control"] is True
        assert refusal(asked(running, f"{API}/control", "POST", b'{"do": "pause"}')) == (409, "not trained")
        for body in (
            b"",
            b"[]",
            b'{"do": "burn"}',
            b'{"do": "run"}',
            b'{"do": "run", "steps": -1}',
            b"\xff",
            b"[" * 9999,
        ):
            status, _, found = asked(running, f"{API}/control", "POST", body)
            assert status in (400, 404, 422), body
            assert json.loads(found)["error"]["message"]


def test_numbers_over_the_wire(server, small):
    _, headers, body = asked(server, f"{API}/weights?layer=conv&step=4")
    assert headers["content-type"] == "application/vnd.kernelearn.blocks"
    assert np.array_equal(read_blocks(body)[1]["kernel"], small[0].kernels("conv", 4))
    assert refusal(asked(server, f"{API}/weights?layer=conv&step=q")) == (400, "wrong")
    assert refusal(asked(server, "/api/v1/runs/none")) == (404, "unknown")


# --- records by range


def test_records_by_range(server, small):
    name = small[0].manifest["segments"][0]["streams"]["steps"]["file"]
    whole = (small[0].folder / name).read_bytes()
    status, headers, body = asked(server, f"{API}/files/{name}", Range="bytes=64-127")
    assert (
        status == 206 and body == whole[64:128] and headers["content-range"] == f"bytes 64-127/{len(whole)}"
    )
    assert asked(server, f"{API}/files/{name}", Range="bytes=-10")[2] == whole[-10:]
    assert asked(server, f"{API}/files/{name}", Range=f"bytes=5-{10**18}")[2] == whole[5:]
    assert asked(server, f"{API}/files/{name}")[2] == whole
    assert json.loads(asked(server, f"{API}/files/{MANIFEST}")[2])["run"] == small[0].manifest["run"]


@pytest.mark.parametrize(
    "wanted",
    [
        "bytes=0-1,2-3",
        "bytes=0-,0-,0-",
        "bytes=5-1",
        "bytes=-",
        "bytes=a-b",
        "lines=1-2",
        "bytes=99999999999-",
        "bytes=0-" + "9" * 500,
    ],
)
def test_ranges_that_are_none_or_many_are_refused(server, small, wanted):
    name = small[0].manifest["segments"][0]["streams"]["steps"]["file"]
    assert refusal(asked(server, f"{API}/files/{name}", Range=wanted)) == (416, "range")


def test_a_range_is_bounded():
    assert _bounds("bytes=0-", 10 * MOST_BYTES) == (0, MOST_BYTES)
    assert _bounds(f"bytes=100-{9 * MOST_BYTES}", 10 * MOST_BYTES) == (100, MOST_BYTES)


# --- readers


def test_a_hundred_slow_readers_hold_up_nobody(server):
    slow = []
    bearer = f"Authorization: Bearer {server.gate.token}"
    for number in range(100):
        line = socket.create_connection(("127.0.0.1", server.port), timeout=60)
        path = f"{API}/batch?layer=conv&step=4" if number % 2 else f"{API}/live"
        half = "" if number % 10 else "GET"  # some do not even finish their request
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n{bearer}\r\n\r\n"
        line.sendall((half or request).encode())
        slow.append(line)
    for _ in range(3):
        assert asked(server, f"{API}/weights?layer=conv&step=4")[0] == 200
    for line in slow:
        line.close()


def test_large_bodies_are_refused(server):
    status, kind = refusal(asked(server, f"{API}/picture", "POST", b"x" * 8_000_001))
    assert (status, kind) == (413, "too large")


def events(server, path, count, seconds=60):
    """The first events of a stream: (name, data)."""
    line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=seconds)
    line.request("GET", path, headers={"Authorization": f"Bearer {server.gate.token}"})
    name = ""
    with contextlib.closing(line), line.getresponse() as answer:
        assert answer.getheader("content-type").startswith("text/event-stream")
        for _ in range(count):
            while not (text := answer.readline().decode().strip()).startswith("data: "):
                name = text.removeprefix("event: ") if text.startswith("event: ") else name
            yield name, json.loads(text.removeprefix("data: "))


def test_changes_are_told_as_they_come(tmp_path):
    run, _, _ = recorded(tmp_path / "run", epochs=1)
    with serving([run.folder]) as running:
        told = events(running, "/api/v1/runs/run/live", 50)
        assert next(told) == (
            "change",
            {"status": "finished", "last_step": 3, "events": 3, "stamp": run.manifest["run"], "problems": 0},
        )
        recorded(tmp_path / "run", epochs=2, overwrite=True)
        name, data = next(told)
        while data.get("last_step") != 6:
            name, data = next(told)
        assert name in ("replaced", "change") and data["stamp"] != run.manifest["run"]


def test_a_folder_that_goes_is_told(tmp_path):
    run, _, _ = recorded(tmp_path / "run", epochs=1)
    with serving([run.folder]) as running:
        told = events(running, "/api/v1/runs/run/live", 2)
        next(told)
        os.rename(run.folder, tmp_path / "moved")
        assert next(told)[0] == "gone"


# --- pictures


def test_a_picture_of_the_readers_own(server, small):
    Image = pytest.importorskip("PIL.Image")
    import io

    run = small[0]
    file = io.BytesIO()
    Image.fromarray(np.full((20, 30, 3), 255, np.uint8)).save(file, "PNG")
    status, _, body = asked(server, f"{API}/picture", "POST", file.getvalue(), Content_Type="image/png")
    told = json.loads(body)
    assert status == 200 and told["shape"] == [8, 8, 1] and "30 x 20" in told["note"]
    assert np.allclose(told["pixels"], run.probe_images.max())
    _, _, body = asked(server, f"{API}/probe?layer=conv&step=4&picture={told['picture']}")
    _, arrays = read_blocks(body)
    expected = run.model(4).model_of(["conv"]).predict(np.array(told["pixels"], "float32")[None], verbose=0)
    assert np.allclose(arrays["a"], expected, atol=1e-5)
    drawn = json.dumps({"pixels": np.zeros((8, 8)).tolist()}).encode()
    status, _, body = asked(server, f"{API}/picture", "POST", drawn, Content_Type="application/json")
    header, _ = read_blocks(asked(server, f"{API}/network?step=4&picture={json.loads(body)['picture']}")[2])
    assert np.isclose(sum(header["prediction"]), 1)


@pytest.mark.parametrize(
    "body, kind",
    [
        (b"", "image/png"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, "image/png"),
        (b"<svg onload=alert(1)>", "image/svg+xml"),
        (b'{"pixels": [[1]]}', "application/json"),
        (b'{"pixels": "a"}', "application/json"),
        (b"{}", "application/json"),
        (b'{"pixels": [[NaN]]}', "application/json"),
    ],
)
def test_what_is_no_picture_is_refused_with_words(server, body, kind):
    status, _, found = asked(server, f"{API}/picture", "POST", body, Content_Type=kind)
    assert status in (400, 409, 422) and json.loads(found)["error"]["message"]


# --- front ends, ports, endings


def test_a_front_end_of_ones_own(tmp_path, small):
    (tmp_path / "index.html").write_text("<script>1</script>")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.js").write_text("1")
    (tmp_path / ".secret").write_text("no")
    os.symlink("/etc/passwd", tmp_path / "link.txt")
    with serving([small[0].folder], frontend=tmp_path) as running:
        status, headers, body = asked(running, "/")
        assert status == 200 and body == b"<script>1</script>"
        assert (
            "'unsafe-inline'" in headers["content-security-policy"]
            and "connect-src 'self'" in headers["content-security-policy"]
        )
        assert asked(running, "/sub/a.js")[1]["content-type"].startswith("text/javascript")
        for path in ("/.secret", "/link.txt", "/sub/../.secret", "/sub/%2e%2e/.secret", "/sub", "/none"):
            assert asked(running, path)[0] == 404
        assert asked(running, API)[0] == 200
    with pytest.raises(ArgumentError, match=r"no index\.html"):
        Frontend(tmp_path / "sub")


def test_a_port_that_is_taken_is_said(server, small):
    with pytest.raises(ArgumentError, match="cannot be taken"):
        PageServer(Library([small[0].folder]), port=server.port)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_ctrl_c_ends_it_at_once_with_readers_connected(small):
    start = "import sys; from kernelearn.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", start, "view", str(small[0].folder), "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        assert "Microscope: http://127.0.0.1:" in line
        address = urllib.parse.urlsplit(line.split()[1])
        token = urllib.parse.parse_qs(address.query)["token"][0]
        with contextlib.ExitStack() as readers:
            for _ in range(5):
                reader = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
                readers.enter_context(contextlib.closing(reader))
                reader.request("GET", f"{API}/live", headers={"Authorization": f"Bearer {token}"})
                readers.enter_context(reader.getresponse())
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        assert process.returncode == 0 and "Traceback" not in errors
    finally:
        process.kill()
        process.wait()


def test_the_server_of_a_training_ends_with_it(tmp_path):
    from kernelearn.view.page.microscope import PageProcess

    page = PageProcess(tmp_path / "not there yet")
    assert page.url.startswith("http://127.0.0.1:") and page.is_alive
    page.stop()
    assert not page.is_alive
