"""The processes of ``--workers``: the parent opens the ports, its workers serve at them."""
