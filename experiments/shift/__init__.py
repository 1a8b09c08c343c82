"""Two domains in a config: their problem, the methods by name, what is shown."""
