"""Grants and tokens in Redis, through txredisapi. Everything else stays in an SQL database beside it."""
