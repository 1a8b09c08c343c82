"""The layer that reads configs: builds studies, runs them, reports them."""
