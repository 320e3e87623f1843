"""Clients, scopes, users, grants and tokens in an SQL database, by SQLAlchemy Core."""
