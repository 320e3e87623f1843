"""The verifiers of access tokens: over a store of this process, and over HTTP."""
