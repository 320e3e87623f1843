"""The rules of the protocol, as pure functions: without I/O, clock and reactor."""
