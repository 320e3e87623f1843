"""The most common passwords, which an attacker tries first.

The words in ``common_passwords.txt`` were written down for this project, and are in the public domain.
They are what published analyses of leaked passwords name again and again: runs of digits and of keys,
names, teams, words of love and abuse, and all these with a digit. Words with fewer than 8 characters are
left out, as they are too short anyway. Each is in lower case, and in Normalization Form C.
"""

from __future__ import annotations

from importlib.resources import files

#: The words. They are read once, at the import.
COMMON_PASSWORDS = frozenset(
    files(__package__).joinpath("common_passwords.txt").read_text("utf-8").split()
)
