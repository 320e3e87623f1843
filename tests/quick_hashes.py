"""Passwords of tests are argon2id, but of the least strength: most tests do not look at it."""

from __future__ import annotations

from argon2 import PasswordHasher

QUICK_HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
