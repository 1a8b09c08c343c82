"""Metrics of tasks and of transfer."""
