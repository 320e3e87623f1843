"""The addresses of the endpoints and pages, below the path at which the tree is mounted."""

AUTHORIZATION = "/authorization/"
TOKEN = "/token/"
REVOCATION = "/revoke/"
INTROSPECTION = "/introspect/"
MISSING_REDIRECT_URI = "/missing_redirect_uri/"

LOGIN = "/login/"
LOGOUT = "/logout/"
ACCOUNT = "/account/"
ADMIN = "/admin/"
IMAGE = "/image/"
STYLE = "/style.css"
