"""Requests to a server of a language model: JSON over HTTP, tried again, errors in plain words.

Needs no extra. The key is read from the environment, sent in a header, and never shown; no redirect
is followed, so that it goes nowhere else.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from lowbg.errors import ConfigError, ModelError

KEY = "LOWBG_LM_API_KEY"
"""The environment variable with the server's key."""

TRIES = 6
BACK_OFF_S = 0.5
"""Seconds before the second try; doubled from try to try, and varied by half."""
MOST_BACK_OFF_S = 30.0

_PASSING = frozenset({408, 429, 500, 502, 503, 504})
"""HTTP states that may be others the next time."""

_MOST_ANSWER = 512 << 20
_SHOWN = 300


class RefusedError(ModelError):
    """The server answered a request with a state that another try would not change."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Server:
    """An address such as `http://127.0.0.1:8000/v1`; `timeout` is of a request, in seconds."""

    url: str
    timeout: float
    _key: str = field(default="", repr=False)

    @classmethod
    def at(cls, address: str, timeout: float) -> Server:
        """The server at an address, `/v1` added where it has no path, with the environment's key.

        Raises `ConfigError` for an address with a password or a query, and for a key that no
        header can hold.
        """
        parts = urlsplit(address)
        try:
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise ConfigError(
                f"`extras.lm.model`: the server's address is wrong ({error})"
            ) from error
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ConfigError(
                f"`extras.lm.model`: an address of a server ({host}) with more than host and path; "
                f"give a key by the environment variable {KEY}"
            )
        if not host:
            raise ConfigError(f"`extras.lm.model={address}`: no host; write http://HOST:PORT/v1")
        key = os.environ.get(KEY, "").strip()
        if not all(" " < letter <= "~" for letter in key):
            raise ConfigError(f"{KEY}: has a letter that no HTTP header can hold")
        place = f"[{host}]" if ":" in host else host
        port_said = "" if port is None else f":{port}"
        path = parts.path.rstrip("/") or "/v1"
        return cls(f"{parts.scheme.lower()}://{place}{port_said}{path}", timeout, key)

    def get(self, path: str) -> Any:
        """The JSON that the server has at a path below its address. Raises as `post`."""
        return self._ask(self.url + path, None)

    def post(self, path: str, content: Any) -> Any:
        """The JSON that comes back for `content`, by a path below the address.

        Of one that begins with `..`, below the host. A request that fails for a reason that may
        pass is made `TRIES` times. Raises `RefusedError` for an answer that another try would not
        change, and `ModelError` where none comes.
        """
        root = self.url.removesuffix("/v1") if path.startswith("..") else self.url
        return self._ask(root + path.removeprefix(".."), json.dumps(content).encode())

    def _ask(self, url: str, content: bytes | None) -> Any:
        why = ""
        for k in range(TRIES):
            pause = min(BACK_OFF_S * 2.0**k, MOST_BACK_OFF_S) * random.uniform(0.5, 1.0)
            try:
                return self._once(url, content)
            except urllib.error.HTTPError as error:
                with error:
                    said = f"{error.code} {error.reason}: {self._told(error)}"
                    wished = error.headers.get("Retry-After", "")
                if error.code not in _PASSING:
                    hint = _HINTS.get(error.code, "")
                    raise RefusedError(f"{url}: {said}{hint}", error.code) from None
                why = said
                if wished.isdigit():
                    pause = min(float(wished), MOST_BACK_OFF_S)
            except TimeoutError:
                why = f"no answer within {self.timeout:g} s; `extras.lm.timeout`"
            except (OSError, http.client.HTTPException) as error:
                reason = getattr(error, "reason", error)
                if isinstance(reason, TimeoutError):
                    reason = f"no answer within {self.timeout:g} s; `extras.lm.timeout`"
                why = self._hidden(str(reason) or type(error).__name__)
            if k + 1 < TRIES:
                time.sleep(pause)
        raise ModelError(f"{url}: asked {TRIES} times, the last time: {why}")

    def _once(self, url: str, content: bytes | None) -> Any:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        request = urllib.request.Request(url, content, headers)
        with _opener(url).open(request, timeout=self.timeout) as answer:
            body = answer.read(_MOST_ANSWER)
        try:
            return json.loads(body)
        except ValueError:
            begin = self._hidden(" ".join(body[:_SHOWN].decode("utf-8", "replace").split()))
            raise RefusedError(
                f"{url}: no JSON came, but {begin[:60]!r}; is it the address of a server with an "
                "OpenAI-style API, as http://HOST:PORT/v1?",
                200,
            ) from None

    def _told(self, error: urllib.error.HTTPError) -> str:
        """What the server says of an error, in one line, without the key."""
        try:
            text = error.read(1 << 16).decode("utf-8", "replace")
        except (OSError, http.client.HTTPException):
            return "nothing more is said"
        try:
            said = json.loads(text)
            said = said.get("error", said) if isinstance(said, dict) else said
            said = said.get("message", said) if isinstance(said, dict) else said
        except ValueError:
            said = text
        return self._hidden(" ".join(str(said).split()))[:_SHOWN]

    def _hidden(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


_HINTS = {
    401: f"; set the environment variable {KEY}",
    403: f"; set the environment variable {KEY}",
    404: "; give the address of an OpenAI-style API, as http://HOST:PORT/v1",
}


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments: Any, **options: Any) -> None:
        """None: the redirect is told as what it is, an answer that isn't one."""


def _opener(url: str) -> urllib.request.OpenerDirector:
    handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
    host = urlsplit(url).hostname or ""
    try:
        own = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        own = False
    if own:
        handlers.append(urllib.request.ProxyHandler({}))
    return urllib.request.build_opener(*handlers)
