"""The administration in the browser: pages for `Administration`, which holds all rules."""
