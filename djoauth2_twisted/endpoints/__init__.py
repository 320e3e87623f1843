"""The endpoints for clients, one module each."""
