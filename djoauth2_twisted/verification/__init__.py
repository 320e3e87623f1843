"""The verifiers of access tokens: one uses a store in this process, the other asks over HTTP."""
