"""The ASGI application: numbers under /api/v1/, the page, records by range, and what changes, as it changes.

Answers are computed in threads and sent when the reader takes them, so that slow readers hold up nobody.
"""

from __future__ import annotations

import asyncio
import json
import os
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernelearn._optional import require
from kernelearn.view.page.answers import answer, error_answer
from kernelearn.view.page.asking import Refused
from kernelearn.view.page.blocks import Answer, json_answer, plain
from kernelearn.view.page.frontend import Frontend, version
from kernelearn.view.page.library import Library, PageRun
from kernelearn.view.page.ranges import Piece, piece_of
from kernelearn.view.page.security import HEADERS, Gate, content_policy
from kernelearn.view.page.watching import Watcher

API = "/api/v1"
_CHUNK = 256 * 1024
_LARGEST_BODY = 8_000_000
_BEAT = 10.0
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


@dataclass(frozen=True)
class Site:
    """All that a server serves.

    Attributes:
        library: the runs; gate: who may ask; frontend: the page; watcher: of growing runs.
        can_control: whether trainings may be steered.
    """

    library: Library
    gate: Gate
    frontend: Frontend
    watcher: Watcher
    can_control: bool = False


def application(site: Site) -> Any:
    """The ASGI application of a site."""
    routing = require("starlette.routing", "the page")
    applications = require("starlette.applications", "the page")
    routes = [
        routing.Route(f"{API}/runs/{{run}}/live", _live(site), methods=["GET"]),
        routing.Route(f"{API}/runs/{{run}}/files/{{name}}", _file(site), methods=["GET"]),
        routing.Route(f"{API}/runs/{{run}}/picture", _post(site, "picture"), methods=["POST"]),
        routing.Route(f"{API}/runs/{{run}}/control", _post(site, "control"), methods=["POST"]),
        routing.Route(f"{API}/{{path:path}}", _api(site), methods=["GET"]),
        routing.Route("/{path:path}", _page(site), methods=["GET"]),
    ]
    return _Guarded(applications.Starlette(routes=routes, exception_handlers=_handlers()), site)


class _Guarded:
    """Lets in what `Gate` lets in, and puts the headers on every answer."""

    def __init__(self, inner: Any, site: Site) -> None:
        self.inner, self.site = inner, site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.inner(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        try:
            is_new = self.site.gate.check(scope["method"], headers, scope["query_string"].decode("latin-1"))
        except Refused as error:
            await _refusal(error, scope["path"], headers)(scope, receive, _with_headers(send))
            return
        if is_new and scope["method"] == "GET" and not scope["path"].startswith(API):
            await self._welcome(scope, receive, _with_headers(send))
            return
        await self.inner(scope, receive, _with_headers(send))

    async def _welcome(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Exchange the token for the cookie, so that it does not stay in the address."""
        headers = {"location": "./", "set-cookie": self.site.gate.cookie_header()}
        await _plain_response(b"", 303, headers)(scope, receive, send)


def _with_headers(send: Send) -> Send:
    async def sending(message: Any) -> None:
        if message["type"] == "http.response.start":
            given = list(message.get("headers", []))
            names = {name.lower() for name, _ in given}
            added = [(k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in names]
            message = {**message, "headers": given + added}
        await send(message)

    return sending


def _plain_response(body: bytes, status: int, headers: dict[str, str], kind: str | None = None) -> Any:
    responses = require("starlette.responses", "the page")
    return responses.Response(body, status, headers, kind)


def _response(found: Answer) -> Any:
    return _plain_response(found.body, found.status, {}, found.kind)


def _refusal(error: Refused, path: str, headers: Mapping[str, str]) -> Any:
    """An error as JSON; in plain words for a reader whose browser went to the address of a page."""
    if path.startswith(API) or "text/html" not in headers.get("accept", ""):
        return _response(error_answer(error))
    return _plain_response(str(error).encode(), error.status, {}, "text/plain; charset=utf-8")


def _handlers() -> dict[Any, Any]:
    """Errors of addresses that nobody answers, as JSON."""

    async def unknown(request: Any, error: Any) -> Any:
        status = getattr(error, "status_code", 500)
        kind = {404: "unknown", 405: "method"}.get(status, "unexpected")
        words = {404: "There is nothing at this address.", 405: "This address takes another method."}
        text = words.get(status, "The server met an error that it did not expect.")
        return _response(json_answer({"error": {"kind": kind, "message": text}}, status))

    exceptions = require("starlette.exceptions", "the page")
    return {exceptions.HTTPException: unknown, 500: unknown}


async def in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a function that takes a while, computed beside the loop."""
    concurrency = require("starlette.concurrency", "the page")
    return await concurrency.run_in_threadpool(function, *arguments)


def _safely(make: Callable[..., Answer], *arguments: Any) -> Answer:
    """An answer, or its error; one that nobody foresaw is printed."""
    try:
        found = make(*arguments)
    except Exception as error:
        found = error_answer(error)
        if found.status == 500:
            traceback.print_exc()
    return found


def _api(site: Site) -> Any:
    async def handle(request: Any) -> Any:
        params = {name: value for name, value in request.query_params.items() if name != "token"}
        found = await in_thread(_safely, answer, site.library, request.path_params["path"], params)
        return _response(found)

    return handle


def _page(site: Site) -> Any:
    async def handle(request: Any) -> Any:
        try:
            asset = await in_thread(site.frontend.asset, request.path_params["path"])
        except Refused as error:
            return _refusal(error, request.url.path, request.headers)
        policy = content_policy(asset.hashes, site.frontend.is_foreign)
        is_known = request.query_params.get("v") == version(asset.body)
        kept = "private, max-age=31536000, immutable" if is_known else "no-cache"
        headers = {"content-security-policy": policy, "cache-control": kept}
        return _plain_response(asset.body, 200, headers, asset.kind)

    return handle


def _post(site: Site, what: str) -> Any:
    """A handler of what a page sends: a picture, a command."""

    async def handle(request: Any) -> Any:
        try:
            body = await _body(request)
        except Refused as error:
            return _response(error_answer(error))
        kind = request.headers.get("content-type", "")
        return _response(
            await in_thread(_safely, _posted, site, what, request.path_params["run"], body, kind)
        )

    return handle


def _posted(site: Site, what: str, key: str, body: bytes, kind: str) -> Answer:
    from kernelearn.view.page.addresses import controlling, pictures

    page_run = site.library.of(key)
    if what == "picture":
        return json_answer(pictures.take(page_run, body, kind))
    if not site.can_control:
        raise Refused(
            "This page only watches. Start it with --control to steer trainings from it.", 403, "read-only"
        )
    return json_answer(controlling.command(page_run, body))


async def _body(request: Any) -> bytes:
    """The body of a request.

    Raises: Refused with 413 for a large one.
    """
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > _LARGEST_BODY:
            raise Refused(f"At most {_LARGEST_BODY:,} bytes can be sent.", 413, "too large")
        parts.append(part)
    return b"".join(parts)


def _live(site: Site) -> Any:
    """Server-sent events of a run."""
    responses = require("starlette.responses", "the page")

    async def handle(request: Any) -> Any:
        try:
            page_run = site.library.of(request.path_params["run"])
        except Exception as error:
            return _response(error_answer(error))
        headers = {"x-accel-buffering": "no"}
        return responses.StreamingResponse(
            _changes(site.watcher, page_run), media_type="text/event-stream", headers=headers
        )

    return handle


async def _changes(watcher: Watcher, page_run: PageRun) -> AsyncIterator[bytes]:
    """What changes of a run, as lines of server-sent events."""
    last: dict[str, Any] | None = None
    quiet = 0.0
    yield b"retry: 1000\n\n"
    while True:
        state = await in_thread(watcher.state, page_run)
        if state != last:
            last, quiet = state, 0.0
            text = json.dumps(plain(state["data"]), allow_nan=False)
            yield f"event: {state['event']}\ndata: {text}\n\n".encode()
        elif quiet >= _BEAT:
            quiet = 0.0
            yield b": still here\n\n"
        await asyncio.sleep(watcher.every)
        quiet += watcher.every


def _file(site: Site) -> Any:
    """A file of a record, or a range of it."""
    responses = require("starlette.responses", "the page")

    async def handle(request: Any) -> Any:
        try:
            page_run = site.library.of(request.path_params["run"])
            name, wanted = request.path_params["name"], request.headers.get("range")
            piece: Piece = await in_thread(piece_of, page_run, name, wanted)
        except Exception as error:
            found = error_answer(error)
            return _response(found)
        return responses.StreamingResponse(
            _read(piece), piece.status, piece.headers(), "application/octet-stream"
        )

    return handle


async def _read(piece: Piece) -> AsyncIterator[bytes]:
    """The bytes of a piece, read as they are taken."""
    left, place = piece.size, piece.first
    file = await in_thread(os.open, Path(piece.path), os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        while left > 0:
            part = await in_thread(_part, file, place, min(left, _CHUNK))
            if not part:
                return
            left, place = left - len(part), place + len(part)
            yield part
    finally:
        os.close(file)


def _part(file: int, place: int, size: int) -> bytes:
    os.lseek(file, place, os.SEEK_SET)
    return os.read(file, size)
