"""The page on which people label: an ASGI application, for the loopback address alone.

Every address begins with a random token; the Host of a request must be this server's own, the
Origin of what changes anything too. No address and no log holds text of a document.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, quote, unquote

from lowbg.jobs.explain import Explanation
from lowbg.jobs.explain_page import shaded_sentences
from lowbg.jobs.review.figures import figures
from lowbg.jobs.review.labels import LABELS, Design
from lowbg.jobs.review.queue import Review, Task
from lowbg.report.render_html import page_policy, render_page

COOKIE: Final = "lowbg-reviewer"
_NAME: Final = re.compile(r"[\w .\-]{1,40}")
_MAX_BODY: Final = 4_096


@dataclass(frozen=True)
class Site:
    """What is reviewed: `texts` by place in the design; `explain` judges a text in a language.

    `stop` ends the server. `host` is what requests must be to, set once the port is known.
    """

    name: str
    design: Design
    review: Review
    texts: Mapping[int, str]
    explain: Callable[[str, str | None], Explanation]
    stop: Callable[[], None]
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    hosts: set[str] = field(default_factory=set)

    def listen_at(self, port: int) -> str:
        """Takes requests for this port; the page's address."""
        self.hosts.update((f"127.0.0.1:{port}", f"localhost:{port}"))
        return f"http://127.0.0.1:{port}/{self.token}/"


def application(site: Site) -> Any:
    """The ASGI application of a site."""
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.base import BaseHTTPMiddleware
    from starlette.requests import Request
    from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
    from starlette.routing import Route

    home = f"/{site.token}/"

    async def guard(request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
        host = request.headers.get("host", "")
        token = request.url.path.split("/", 2)[1:2]
        if (
            host not in site.hosts
            or not token
            or not secrets.compare_digest(token[0].encode(), site.token.encode())
        ):
            return PlainTextResponse("not found\n", 404)
        if request.method == "POST" and request.headers.get("origin") != f"http://{host}":
            return PlainTextResponse("another page's request\n", 403)
        response = await call(request)
        response.headers.update(
            {
                "Cache-Control": "no-store",
                "Content-Security-Policy": f"{page_policy('review', forms=True)}; "
                "frame-ancestors 'none'",
                "Cross-Origin-Opener-Policy": "same-origin",
                "Cross-Origin-Resource-Policy": "same-origin",
                "Referrer-Policy": "same-origin",
                "X-Content-Type-Options": "nosniff",
            }
        )
        return response

    async def values(request: Request) -> dict[str, str]:
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > _MAX_BODY:
                return {}
        return {name: own[-1] for name, own in parse_qs(body.decode("utf-8", "replace")).items()}

    def reviewer_of(request: Request) -> str:
        name = unquote(request.cookies.get(COOKIE, ""))
        return name if _NAME.fullmatch(name) else ""

    async def show(request: Request) -> Response:
        return HTMLResponse(_page(site, reviewer_of(request)))

    async def enter(request: Request) -> Response:
        name = (await values(request)).get("name", "").strip()
        response = RedirectResponse(home, 303)
        if _NAME.fullmatch(name):  # A cookie is ASCII.
            response.set_cookie(
                COOKIE, quote(name, safe=""), path=home, httponly=True, samesite="strict"
            )
        return response

    async def label(request: Request) -> Response:
        own, reviewer = await values(request), reviewer_of(request)
        task = _task(own)
        if not reviewer or task is None or own.get("label") not in LABELS:
            return PlainTextResponse("no such label\n", 400)
        site.review.label(reviewer, task, own["label"])  # type: ignore[arg-type]
        return RedirectResponse(home, 303)

    async def reveal(request: Request) -> Response:
        task, reviewer = _task(await values(request)), reviewer_of(request)
        if reviewer and task is not None and site.review.next(reviewer) == task:
            site.review.show(reviewer, task)
        return RedirectResponse(home, 303)

    async def undo(request: Request) -> Response:
        if reviewer := reviewer_of(request):
            site.review.undo(reviewer)
        return RedirectResponse(home, 303)

    async def tell(_: Request) -> Response:
        own = figures(site.design, site.review.labels)
        return HTMLResponse(
            render_page("review", forms=True, **_common(site), view="figures", f=own)
        )

    async def finish(_: Request) -> Response:
        site.stop()
        return HTMLResponse(render_page("review", forms=True, **_common(site), view="closed"))

    routes = [
        Route(home, show),
        Route(f"{home}figures", tell),
        *(
            Route(f"{home}{own.__name__}", own, methods=["POST"])
            for own in (enter, label, reveal, undo, finish)
        ),
    ]
    return Starlette(routes=routes, middleware=[Middleware(BaseHTTPMiddleware, dispatch=guard)])


def _task(values: Mapping[str, str]) -> Task | None:
    document = values.get("document", "")
    if not document.isascii() or not document.isdecimal():
        return None
    return Task(int(document), values.get("again") == "1")


def _common(site: Site) -> dict[str, Any]:
    return {"data": site.name, "home": f"/{site.token}/"}


def _page(site: Site, reviewer: str) -> str:
    if not reviewer:
        return render_page("review", forms=True, **_common(site), view="name")
    done, whole = site.review.counts(reviewer)
    task = site.review.next(reviewer)
    if task is None:
        return render_page("review", forms=True, **_common(site), view="done", whole=whole)
    text = site.texts[task.document]
    drawn = site.design.documents[task.document]
    shown = site.review.has_seen(reviewer, task)
    explanation = site.explain(text, drawn.language) if shown else None
    return render_page(
        "review",
        forms=True,
        **_common(site),
        view="document",
        text=text,
        task=task,
        done=done,
        whole=whole,
        reviewer=reviewer,
        explanation=explanation,
        sentences=shaded_sentences(explanation) if explanation is not None else (),
    )
