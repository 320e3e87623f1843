"""Tells clients that a login has ended (OpenID Connect Back-Channel Logout 1.0).

A notice is stored in the step in which the login ends, or directly before it, and sent afterwards. So a
logout waits for no client, and another process sends what one has not sent when it ends.
"""
