"""Stores in memory, for tests and trials: the plainest form of the contract. They are lost at exit."""

from .registry import MemoryRegistry
from .tokens import MemoryTokenStore

__all__ = ["MemoryRegistry", "MemoryTokenStore"]
