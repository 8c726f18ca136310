"""Who may ask the server what: a token, then a cookie; the Host and Origin of every request; strict headers.

A page on another site must not read a run through the reader's browser: not by a guessed port, not by a name
that is pointed at this machine (DNS rebinding), not inside a frame.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

from kernelearn.view.page.asking import Refused

_LOCAL = ("localhost", "127.0.0.1", "::1")


def _secret() -> str:
    return secrets.token_urlsafe(24)


@dataclass
class Gate:
    """What a request needs to come in.

    Attributes:
        host: that the server listens on, as it was given; port.
        token: in the address that the server prints; session: of the cookie that it is exchanged for.
    """

    host: str = "127.0.0.1"
    port: int = 0
    token: str = field(default_factory=_secret)
    session: str = field(default_factory=_secret)

    @property
    def cookie(self) -> str:
        """Name of the cookie; servers on several ports have several."""
        return f"kernelearn-{self.port}"

    def check(self, method: str, headers: Mapping[str, str], query: str) -> bool:
        """Let a request in or refuse it.

        Returns: whether it came by the token in its address, so that it gets the cookie.
        Raises: Refused.
        """
        host = headers.get("host", "")
        if not self.is_own_host(host):
            raise Refused(
                f"The server was asked as {host!r}, which is not its name. Open the address that it printed.",
                403,
                "host",
            )
        self._check_origin(method, headers, host)
        given = parse_qs(query).get("token", [])
        if any(_is_same(one, self.token) for one in given):
            return True
        if self._has_session(headers) or self._is_bearer(headers):
            return False
        raise Refused(
            "This server shows its runs to who has its token. Open the address that kernelearn view printed, "
            "with ?token=... in it.",
            403,
            "token",
        )

    def is_own_host(self, host: str) -> bool:
        """Whether a Host header is a name of this server: names that others could point at it are not."""
        name, port = _split(host)
        if port not in (self.port, None) or (port is None and self.port not in (80, 443)):
            return False
        if name in _LOCAL:
            return True
        is_open = self.host not in _LOCAL
        return is_open and (_is_address(name) or name in self._own_names())

    def _own_names(self) -> Iterable[str]:
        name = socket.gethostname().lower()
        return {self.host.lower(), name, name.partition(".")[0], f"{name.partition('.')[0]}.local"}

    def _check_origin(self, method: str, headers: Mapping[str, str], host: str) -> None:
        origin = headers.get("origin")
        is_own = origin in (f"http://{host}", f"https://{host}")
        is_elsewhere = origin is not None and not is_own
        is_sent_from_elsewhere = headers.get("sec-fetch-site") in ("cross-site", "same-site")
        is_navigation = headers.get("sec-fetch-mode") == "navigate" and method == "GET"
        is_bare_change = method not in ("GET", "HEAD") and origin is None and not self._is_bearer(headers)
        if is_elsewhere or (is_sent_from_elsewhere and not is_navigation) or is_bare_change:
            raise Refused(
                f"The request came from another page ({origin or 'unknown'}); only the server's own may ask.",
                403,
                "origin",
            )

    def _has_session(self, headers: Mapping[str, str]) -> bool:
        try:
            found = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            return False
        return found is not None and _is_same(found.value, self.session)

    def _is_bearer(self, headers: Mapping[str, str]) -> bool:
        kind, _, value = headers.get("authorization", "").partition(" ")
        return kind.lower() == "bearer" and _is_same(value.strip(), self.token)

    def cookie_header(self) -> str:
        """Set-Cookie for who came by the token."""
        return f"{self.cookie}={self.session}; HttpOnly; SameSite=Lax; Path=/"


def _is_same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())


def _split(host: str) -> tuple[str, int | None]:
    """Name and port of a Host header; port -1 for one that is none."""
    name, port = host.strip().lower(), ""
    if name.startswith("["):
        name, _, rest = name[1:].partition("]")
        port = rest.removeprefix(":")
    elif name.count(":") == 1:
        name, _, port = name.partition(":")
    if not port:
        return name, None
    return name, int(port) if port.isascii() and port.isdigit() else -1


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def content_policy(hashes: Iterable[str] = (), is_foreign: bool = False) -> str:
    """The Content-Security-Policy of the page.

    Args:
        hashes: of the scripts that stand in the page itself.
        is_foreign: for a page of the user's own, which may have scripts and styles within it; nothing goes
            to another server either way.
    """
    inside = " 'unsafe-inline'" if is_foreign else "".join(f" '{one}'" for one in hashes)
    style = " 'unsafe-inline'" if is_foreign else ""
    parts: dict[str, Any] = {
        "default-src": "'none'",
        "script-src": f"'self'{inside}",
        "style-src": f"'self'{style}",
        "img-src": "'self' data: blob:",
        "font-src": "'self'" if is_foreign else "'none'",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in parts.items())


# Headers of every answer.
HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
