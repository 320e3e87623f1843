"""``python -m djoauth2_twisted.cli`` is `djoauth2`."""

from . import main

main()
