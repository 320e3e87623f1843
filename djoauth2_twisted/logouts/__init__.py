"""Tells clients that a login has ended (OpenID Connect Back-Channel Logout 1.0).

A notice is stored in the step in which the login ends, or beside it, and sent afterwards. So a logout
waits for no client, and what is not yet sent when a process ends is sent by another one.
"""
