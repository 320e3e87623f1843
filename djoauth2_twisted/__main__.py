"""``python -m djoauth2_twisted`` is `djoauth2`."""

from .cli import main

main()
