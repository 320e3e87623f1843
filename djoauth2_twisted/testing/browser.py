"""A browser that logs in and consents, and the OAuth client that it comes back to."""

from __future__ import annotations

from typing import Any
from urllib.parse import urljoin

from attrs import field, frozen

from .answers import Answer
from .requests import FORM, Fields, Lines, MemorySite, basic, encoded

#: The ``state`` of an authorization request that names no other.
STATE = "st4te-value"


class Browser:
    """A browser: it keeps cookies and fills in forms. It follows a redirect only if a test asks for it.

    :param prefix: the path at which the authorization server is mounted.
    """

    def __init__(self, site: MemorySite, prefix: str = "/oauth2") -> None:
        self.site = site
        self.prefix = prefix
        self.cookies: dict[str, str] = {}
        self._for_tls_only: set[str] = set()

    def send(self, method: str, address: str, body: bytes | None = None, headers: Lines = ()) -> Answer:
        """Send a request with the cookies, and keep those of the answer."""
        return self.keep(self.site.send(method, address, body, [*self.cookie(address), *headers]))

    def get(self, address: str, headers: Lines = ()) -> Answer:
        """Open an address."""
        return self.send("GET", address, None, headers)

    def post(self, address: str, fields: Fields, headers: Lines = ()) -> Answer:
        """Send a form."""
        return self.send("POST", address, encoded(fields), [FORM, *headers])

    def cookie(self, address: str) -> Lines:
        """The Cookie header of a request; without TLS it has no cookies that are for TLS only."""
        plain = urljoin(self.site.origin, address).startswith("http:")
        sent = [
            f"{name}={value}"
            for name, value in self.cookies.items()
            if not (plain and name in self._for_tls_only)
        ]
        return [("Cookie", "; ".join(sent))] if sent else []

    def keep(self, answer: Answer) -> Answer:
        """Keep the cookies that an answer sets, and drop those that it empties."""
        for line in answer.headers.getRawHeaders("set-cookie", []):
            pair, *attributes = [each.strip() for each in line.split(";")]
            name, _, value = pair.partition("=")
            if "secure" in [each.lower() for each in attributes]:
                self._for_tls_only.add(name)
            if value:
                self.cookies[name] = value
            else:
                self.cookies.pop(name, None)
        return answer

    def submit(self, answer: Answer, containing: str, **fields: str | None) -> Answer:
        """Fill in and send the form of a page that has a field or button of a name."""
        form = answer.form(containing)
        assert form.method == "POST"
        address = urljoin(self.site.origin + "/", form.action)
        return self.post(address, {**form.hidden, **fields})

    def follow(self, answer: Answer) -> Answer:
        """Go where a redirect leads, which must be the same site."""
        address = urljoin(self.site.origin + "/", answer.location)
        assert address.startswith(self.site.origin + "/"), f"{address} is another site"
        return self.get(address)

    def log_in(self, username: str, password: str, page: Answer | None = None) -> Answer:
        """Log in, on the login page that is given or on a new one."""
        page = page or self.get(f"{self.prefix}/login/")
        return self.submit(page, "password", username=username, password=password)

    def log_out(self) -> Answer:
        """Log out."""
        return self.submit(self.get(f"{self.prefix}/logout/"), "csrf_token")


@frozen
class OAuthClient:
    """A registered client: it sends browsers to the server, and exchanges codes for tokens.

    Where a method takes ``changed``, these are parameters of the request in the standard's names, which
    replace or extend the usual ones. A parameter that is None is left out.

    :param prefix: the path at which the authorization server is mounted.
    """

    site: MemorySite
    client_id: str
    secret: str = field(repr=False)
    redirect_uri: str
    prefix: str = field(default="/oauth2", kw_only=True)

    def fields(self, **changed: str | None) -> dict[str, str | None]:
        """The parameters of an authorization request (RFC 6749, section 4.1.1)."""
        return {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": "user_info",
            "state": STATE,
            **changed,
        }

    def address(self, more: str = "", **changed: str | None) -> str:
        """The address of an authorization request.

        :param more: what is appended to the query as it is.
        """
        query = encoded(self.fields(**changed)).decode("ascii")
        return f"{self.prefix}/authorization/?{query}{more}"

    def ask(self, browser: Browser, more: str = "", **changed: str | None) -> Answer:
        """Send a browser to the authorization endpoint: the consent page where the user is logged in."""
        return browser.get(self.address(more, **changed))

    def authorize(
        self, browser: Browser, more: str = "", decision: str = "Accept", **changed: str | None
    ) -> Answer:
        """The answer to the consent page's form: a redirect to the client (RFC 6749, section 4.1.2).

        :param browser: one in which the user is logged in.
        :param decision: ``Accept`` or ``Decline``.
        """
        page = self.ask(browser, more, **changed)
        return browser.submit(page, "user_action", user_action=decision)

    def code(self, browser: Browser, **changed: Any) -> str:
        """A new authorization code, after the user's consent."""
        return self.authorize(browser, **changed).parameters["code"]

    def code_form(self, code: str | None, **changed: str | None) -> dict[str, str | None]:
        """The parameters of an exchange (RFC 6749, section 4.1.3)."""
        return {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            **changed,
        }

    def token(self, form: Fields, headers: Lines = ()) -> Answer:
        """The answer to a token request, with the client's Basic credentials."""
        lines = [FORM, ("Authorization", basic(self.client_id, self.secret)), *headers]
        return self.site.send("POST", f"{self.prefix}/token/", encoded(form), lines)

    def exchange(self, code: str | None, **changed: str | None) -> Answer:
        """Exchange an authorization code (RFC 6749, section 4.1.3)."""
        return self.token(self.code_form(code, **changed))

    def refresh_form(self, refresh_token: str | None, **changed: str | None) -> dict[str, str | None]:
        """The parameters of a refresh (RFC 6749, section 6)."""
        return {"grant_type": "refresh_token", "refresh_token": refresh_token, **changed}

    def refresh(self, refresh_token: str | None, **changed: str | None) -> Answer:
        """Refresh an access token (RFC 6749, section 6)."""
        return self.token(self.refresh_form(refresh_token, **changed))

    def tokens(self, browser: Browser, **changed: Any) -> dict[str, Any]:
        """The tokens of a new grant (RFC 6749, section 5.1), after the user's consent."""
        answer = self.exchange(self.code(browser, **changed))
        assert answer.status == 200, answer.text
        return answer.json
