"""Transfer learning in one algebra of pure functions."""

__version__ = "0.1.0"
