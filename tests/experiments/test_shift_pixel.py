"""Pixel methods by config, on pictures of two domains."""

import numpy as np
import pytest
from ml_collections import ConfigDict
from tiny_shift import predictions
from tiny_study import result, run
