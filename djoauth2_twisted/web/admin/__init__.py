"""The administration in the browser: `Administration` with pages, and no rule of its own."""
