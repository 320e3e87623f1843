"""The protocol: values in, a decision out. No I/O, no clock, no reactor."""
