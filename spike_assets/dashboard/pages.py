"""The pages that are made here: the login form and the API's documentation, plain HTML without a script."""

import re
from collections.abc import Iterable
from html import escape
from pathlib import Path
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from spike_assets.dashboard.api import small_body
from spike_assets.dashboard.endpoints import ENDPOINTS, Endpoint
from spike_assets.dashboard.security import COOKIE, Sessions, is_stranger

STATIC = Path(__file__).parent / "static"
"""The page's own modules, styles and chart library."""

_VIEW = re.compile(r"[A-Za-z0-9_=&%.:+-]{0,500}")

_CSS = """\
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
form { display: grid; gap: 0.75rem; max-width: 22rem; }
input, button { font: inherit; min-height: 44px; padding: 0 0.75rem; box-sizing: border-box; }
[role="alert"] { border-left: 4px solid #c62828; padding-left: 0.75rem; }
table { border-collapse: collapse; margin: 0.5rem 0 1rem; }
th, td { text-align: left; vertical-align: top; padding: 0.25rem 1rem 0.25rem 0; }
code { font-family: ui-monospace, monospace; overflow-wrap: anywhere; }
section { border-top: 1px solid #8888; }
"""


async def page(_: Request) -> Response:
    """Give the page: an empty frame, which asks the API for everything that it shows."""
    return FileResponse(STATIC / "index.html", media_type="text/html", headers={"cache-control": "no-cache"})


async def favicon(_: Request) -> Response:
    """Give the icon to browsers that do not look into the page first."""
    return FileResponse(STATIC / "favicon.svg", media_type="image/svg+xml")


async def plain_css(_: Request) -> Response:
    """Give the style of the pages that are made here."""
    return Response(_CSS, media_type="text/css", headers={"cache-control": "no-cache"})


class Login:
    """The form that takes the token, and what becomes of it: the id of a session, in a cookie."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def show(self, request: Request) -> Response:
        """Give the form; whoever needs none is sent on."""
        view = _view(request.query_params.get("next", ""))
        return _on(view) if not is_stranger(request) else _form(view)

    async def take(self, request: Request) -> Response:
        """Begin a session where the token fits."""
        said = parse_qs((await small_body(request)).decode("utf-8", "replace"), keep_blank_values=True)
        view = _view(said.get("next", [""])[0])
        if not self._sessions.fits(said.get("token", [""])[0].strip()):
            return _form(view, "This is not the token. It is what SPIKE_DASHBOARD_TOKEN is set to.")
        answer = _on(view)
        answer.set_cookie(
            COOKIE,
            self._sessions.begin(),
            secure=request.url.scheme == "https" or request.headers.get("origin", "").startswith("https://"),
            httponly=True,
            samesite="strict",
        )
        return answer

    async def leave(self, request: Request) -> Response:
        """End a session."""
        self._sessions.end(request.cookies.get(COOKIE, ""))
        answer = RedirectResponse("./login", 303)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer


def _view(query: str) -> str:
    """Give the query of a deep link; anything that is none is dropped."""
    return query if _VIEW.fullmatch(query) else ""


def _on(view: str) -> Response:
    return RedirectResponse(f"./?{view}" if view else "./", 303)  # relative: a proxy may have put us into a folder


def _form(view: str, wrong: str = "") -> Response:
    told = f'<p role="alert">{escape(wrong)}</p>' if wrong else ""
    body = f"""{told}<form method="post" action="login">
<label for="token">Token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<input name="next" type="hidden" value="{escape(view)}">
<button>Open the dashboard</button>
</form>"""
    return HTMLResponse(_html("spike", body, "plain.css"), 401 if wrong else 200)


async def docs(_: Request) -> Response:
    """Give the API's documentation."""
    intro = (
        '<p>The same as <a href="openapi.json">OpenAPI</a>. Times are ISO 8601 in UTC, prices are numbers. What is'
        ' asked wrongly is answered with 400 and <code>{"error": "…"}</code>. Where a token is set, send it as <code>'
        "Authorization: Bearer …</code>. The live feed is a WebSocket at <code>/api/live</code>.</p>"
    )
    body = intro + "".join(_section(endpoint) for endpoint in ENDPOINTS)
    return HTMLResponse(_html("spike's API", body, "../plain.css"))


def _section(endpoint: Endpoint) -> str:
    parts = [f"<section><h2><code>{endpoint.method} {escape(endpoint.path)}</code></h2>"]
    parts.append(f"<p>{escape(endpoint.summary)}</p>")
    asked = [(name, meaning) for name, meaning in endpoint.in_path.items()]
    asked += [
        (one.name, one.meaning + (" (required)" if one.required else "") + _unless(one.default))
        for one in endpoint.parameters
    ]
    parts += _table("Parameter", asked)
    parts += _table("Body (JSON)", endpoint.body.items())
    parts += _table("Answer", endpoint.fields.items())
    if endpoint.writes:
        parts.append("<p>Needs the header <code>X-Spike: 1</code> and an own <code>Origin</code>; answers 204.</p>")
    return "".join([*parts, "</section>"])


def _unless(default: object) -> str:
    return "" if default is None else f"; {default} unless given"


def _table(head: str, rows: Iterable[tuple[str, str]]) -> list[str]:
    lines = [f"<tr><td><code>{escape(name)}</code></td><td>{escape(meaning)}</td></tr>" for name, meaning in rows]
    return [f'<table><tr><th scope="col">{head}</th><th scope="col"></th></tr>', *lines, "</table>"] if lines else []


def _html(title: str, body: str, css: str) -> str:
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<link rel="stylesheet" href="{css}">
</head>
<body>
<main>
<h1>{escape(title)}</h1>
{body}
</main>
</body>
</html>
"""
