"""Where clients, scopes, users, grants and tokens are kept."""
