"""Configs: data only. Each docstring gives its command and the expected result."""
