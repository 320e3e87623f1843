"""The helpers of the fuzzer are checked by pytest's own `assert`."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("web_driver", "fuzz_parsers")
