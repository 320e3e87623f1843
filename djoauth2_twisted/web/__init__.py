"""Reads requests and makes responses: pages, sessions, limits and errors over HTTP."""
