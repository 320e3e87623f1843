"""The pages of the demo that are not the server's: its front page and the example application's."""

from __future__ import annotations

from typing import Any

from jinja2 import DictLoader, Environment, StrictUndefined
from twisted.web.iweb import IRequest

STYLE = """
:root { color-scheme: light dark; --ground: #f4f7f4; --card: #ffffff; --ink: #17221c; --muted: #52605a;
  --rule: #d7e0da; --accent: #0a6b4d; --on-accent: #ffffff; }
@media (prefers-color-scheme: dark) { :root { --ground: #0f1512; --card: #18211d; --ink: #e5ece8;
  --muted: #a3b1aa; --rule: #32403a; --accent: #6fdcb4; --on-accent: #0b1a14; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 1rem/1.55 system-ui, sans-serif;
  overflow-wrap: anywhere; }
header, main { max-width: 46rem; margin: 0 auto; padding: 1rem 1.25rem; }
header { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: center;
  justify-content: space-between; }
header p { margin: 0; font-weight: 700; }
h1 { margin: 1.5rem 0 .75rem; font-size: clamp(1.6rem, 5vw, 2.4rem); line-height: 1.15; }
h2 { margin: 1.75rem 0 .5rem; font-size: 1.1rem; }
.card h2 { margin-top: 0; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 13rem), 1fr));
  gap: 1rem; margin: 1.5rem 0; }
.card { padding: 1.25rem; background: var(--card); border: 1px solid var(--rule);
  border-radius: .75rem; }
.card p:last-child, .card dl { margin-bottom: 0; }
dl { display: grid; grid-template-columns: auto 1fr; gap: .35rem 1rem; margin-top: 0; }
dt { color: var(--muted); }
dd { margin: 0; }
code { font: .95em/1.5 ui-monospace, monospace; user-select: all; }
a { color: var(--accent); }
.buttons { display: flex; flex-wrap: wrap; gap: .75rem; align-items: center; }
form { margin: 0; }
button, a.button { display: inline-block; min-height: 2.75rem; padding: .55rem 1.3rem; font: inherit;
  font-weight: 600; border: 1px solid var(--accent); border-radius: 2rem; background: none;
  color: var(--accent); text-decoration: none; cursor: pointer; }
button.primary, a.button.primary { background: var(--accent); color: var(--on-accent); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.aside { color: var(--muted); }
"""

_PAGES = {
    "base.html": """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{% block title %}Holiday Prints{% endblock %}</title>
<link rel="stylesheet" href="/app/style.css"></head>
<body>
<header><p>{% block brand %}Holiday Prints{% endblock %}</p>{% block user %}{% endblock %}</header>
<main>{% block main %}{% endblock %}</main>
</body>
</html>""",
    "front.html": """{% extends "base.html" %}
{% block title %}The demo of djoauth2_twisted{% endblock %}
{% block brand %}djoauth2_twisted: the demo{% endblock %}
{% block main %}
<h1>An authorization server, an API and an application</h1>
<p>All three run in this process, over TLS, with a database that is deleted at the end.</p>
<div class="cards">
<section class="card"><h2>1. The application</h2>
<p>Holiday Prints lets its users log in at the server, and asks the API who they are.</p>
<p><a class="button primary" href="/app/">Open the application</a></p></section>
<section class="card"><h2>2. The pages of a user</h2>
<p>Which applications may use the account, and how to end that.</p>
<p><a class="button" href="/oauth2/account/">Your applications</a></p></section>
<section class="card"><h2>3. The administration</h2>
<p>Clients, scopes, users and grants. The administrator is another user, so log out before.</p>
<p><a class="button" href="/oauth2/admin/">Administration</a></p></section>
</div>
<section class="card"><h2>Who can log in</h2>
<dl>
<dt>User</dt><dd><code>{{ system.username }}</code>, password <code>{{ system.password }}</code></dd>
<dt>Administrator</dt><dd><code>{{ system.admin_name }}</code>, password
<code>{{ system.admin_password }}</code></dd>
</dl></section>
<h2>What runs where</h2>
<dl>
<dt>Server</dt><dd><code>{{ system.address }}/oauth2/</code></dd>
<dt>Its metadata</dt><dd><a href="/.well-known/oauth-authorization-server">
/.well-known/oauth-authorization-server</a></dd>
{%- if system.server.settings.openid %}
<dt>Discovery</dt><dd><a href="/.well-known/openid-configuration">
/.well-known/openid-configuration</a></dd>
{%- endif %}
<dt>API</dt><dd><code>{{ system.address }}/api/user_info/</code>, with an access token</dd>
<dt>Application</dt><dd><code>{{ system.address }}/app/</code></dd>
</dl>
{% endblock %}""",
    "welcome.html": """{% extends "base.html" %}
{% block main %}
<h1>Your best photos, on paper, at your door</h1>
<p>An example application. It has no passwords: its users log in at the authorization server.</p>
<p><a class="button primary" href="/app/login">Log in with {{ server }}</a></p>
<p class="aside"><a href="/">About this demo</a></p>
{% endblock %}""",
    "user.html": """{% extends "base.html" %}
{% block user %}<form action="/app/logout" method="POST"><button>Log out</button></form>{% endblock %}
{% block main %}
<h1>Hello, {{ user.first_name or user.username }}</h1>
<div class="cards">
<section class="card"><h2>Who you are</h2>
<dl>
<dt>Name</dt><dd>{{ user.first_name }} {{ user.last_name }}</dd>
<dt>E-mail</dt><dd>{{ user.email }}</dd>
<dt>User name</dt><dd>{{ user.username }}</dd>
</dl></section>
<section class="card"><h2>What the application holds</h2>
<dl>
<dt>Scope</dt><dd>{{ session.scope }}</dd>
<dt>Access token</dt><dd>for {{ session.lifetime }} seconds at a time</dd>
<dt>Refreshed</dt><dd>{{ session.refreshes }} times</dd>
</dl></section>
{%- if session.claims %}
<section class="card"><h2>The ID token</h2>
<dl>
{%- for name, value in session.claims.items() %}
<dt>{{ name }}</dt><dd>{{ value }}</dd>
{%- endfor %}
</dl></section>
<section class="card"><h2>UserInfo</h2>
<dl>
{%- for name, value in claims.items() %}
<dt>{{ name }}</dt><dd>{{ value }}</dd>
{%- endfor %}
</dl></section>
{%- endif %}
</div>
<div class="buttons">
<form action="/app/refresh" method="POST"><button class="primary">Refresh the tokens</button></form>
<a href="/oauth2/account/">Take the permission back at the server</a>
</div>
<p class="aside"><a href="/">About this demo</a></p>
{% endblock %}""",
    "refused.html": """{% extends "base.html" %}
{% block main %}
<h1>You are not logged in</h1>
<p>{{ why }}</p>
<p><a class="button primary" href="/app/login">Try again</a></p>
{% endblock %}""",
}

_environment = Environment(loader=DictLoader(_PAGES), autoescape=True, undefined=StrictUndefined)


HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; frame-ancestors 'none'",
}


def render(name: str, **context: Any) -> bytes:
    """The text of a page."""
    return _environment.get_template(name).render(context).encode("utf-8")


def page(request: IRequest, name: str, **context: Any) -> bytes:
    """The answer with a page, which loads nothing but its style sheet from the demo."""
    for header, value in HEADERS.items():
        request.setHeader(header, value)
    return render(name, **context)
