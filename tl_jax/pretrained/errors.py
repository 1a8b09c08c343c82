"""What may be wrong with a file of weights."""


class Damaged(ValueError):
    """A file is truncated, of another format, or contradicts itself or its index."""


class Unsafe(ValueError):
    """A pickle names something that no file of weights needs."""


class Unsupported(ValueError):
    """A setting, in config.json or in a file's own words, that no model here has."""
