"""Pixel methods by config, on pictures of two domains."""
