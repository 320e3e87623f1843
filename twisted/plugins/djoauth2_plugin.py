"""What ``twistd`` and ``twist`` read to know the word ``djoauth2``; it imports nothing else of ours."""

from twisted.application.service import ServiceMaker

djoauth2 = ServiceMaker(
    "djoauth2",
    "djoauth2_twisted.tap",
    "An OAuth 2.0 authorization server.",
    "djoauth2",
)
