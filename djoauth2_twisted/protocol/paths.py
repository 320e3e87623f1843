"""The addresses of the endpoints and pages, below the path at which the tree is mounted."""

AUTHORIZATION = "/authorization/"
TOKEN = "/token/"
REVOCATION = "/revoke/"
INTROSPECTION = "/introspect/"
MISSING_REDIRECT_URI = "/missing_redirect_uri/"

LOGIN = "/login/"
LOGOUT = "/logout/"
ACCOUNT = "/account/"
#: "Your account", for users of the database.
ACCOUNT_SETTINGS = "/account/settings/"
ACCOUNT_PASSWORD = "/account/password/"
ACCOUNT_SECOND_FACTOR = "/account/second_factor/"
#: The second step of a login.
SECOND_STEP = "/login/second_factor/"
ADMIN = "/admin/"
IMAGE = "/image/"
STYLE = "/style.css"
LOGO = "/logo/"
ICON = "/icon/"
ADMIN_STYLE = "/admin.css"
