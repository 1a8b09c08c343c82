"""Sources, splits, tokenising and loading of data, with no branch on the algorithm."""
