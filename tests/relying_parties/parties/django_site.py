"""A Django project that logs in by mozilla-django-oidc, in one file."""

import os
from typing import Any
from urllib.parse import urlencode

import django
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.urls import include, path

ISSUER, BASE, FOLDER = os.environ["ISSUER"], os.environ["BASE"], os.environ["FOLDER"]


def provider_logout(request: HttpRequest) -> str:
    """Where mozilla-django-oidc sends the browser after its own logout."""
    asked = {
        "id_token_hint": request.session["oidc_id_token"],
        "post_logout_redirect_uri": f"{BASE}/bye",
        "state": "the-state",
    }
    return f"{ISSUER}/oauth2/end_session/?{urlencode(asked)}"


settings.configure(
    SECRET_KEY="a secret of the test",
    ALLOWED_HOSTS=["localhost"],
    ROOT_URLCONF=__name__,
    DATABASES={
        "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["FOLDER"] + "/site.db"}
    },
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "mozilla_django_oidc",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    AUTHENTICATION_BACKENDS=["mozilla_django_oidc.auth.OIDCAuthenticationBackend"],
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    OIDC_RP_CLIENT_ID=os.environ["CLIENT_ID"],
    OIDC_RP_CLIENT_SECRET=os.environ["CLIENT_SECRET"],
    OIDC_RP_SCOPES="openid profile email",
    OIDC_RP_SIGN_ALGO="RS256",
    OIDC_OP_JWKS_ENDPOINT=f"{ISSUER}/oauth2/jwks/",
    OIDC_OP_AUTHORIZATION_ENDPOINT=f"{ISSUER}/oauth2/authorization/",
    OIDC_OP_TOKEN_ENDPOINT=f"{ISSUER}/oauth2/token/",
    OIDC_OP_USER_ENDPOINT=f"{ISSUER}/oauth2/userinfo/",
    OIDC_OP_LOGOUT_URL_METHOD=f"{__name__}.provider_logout",
    OIDC_STORE_ID_TOKEN=True,
    OIDC_USE_PKCE=True,
    ALLOW_LOGOUT_GET_METHOD=True,
    LOGIN_REDIRECT_URL="/me",
    LOGIN_REDIRECT_URL_FAILURE="/failed",
    LOGOUT_REDIRECT_URL="/bye",
    SECURE_PROXY_SSL_HEADER=None,
)
django.setup()


def me(request: HttpRequest) -> HttpResponse:
    """Who is logged in, as Django's own user has it."""
    user: Any = request.user
    if not user.is_authenticated:
        return HttpResponse("not logged in", status=401)
    return JsonResponse({"claims": {}, "user": {"email": user.email}})


def bye(request: HttpRequest) -> HttpResponse:
    """Where the provider sends the browser after the logout."""
    return JsonResponse({"state": request.GET.get("state")})


urlpatterns = [
    path("login", lambda request: redirect("oidc_authentication_init")),
    path("logout", lambda request: redirect("oidc_logout")),
    path("oidc/", include("mozilla_django_oidc.urls")),
    path("me", me),
    path("bye", bye),
]
call_command("migrate", verbosity=0)
application = get_wsgi_application()
