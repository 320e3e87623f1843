"""The check of a configuration: at every start, and by ``--check`` without a start."""
