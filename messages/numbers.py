"""What counts as a number of seconds: what a clock can be asked for."""

from __future__ import annotations

import sys
from typing import Final

LARGEST: Final = sys.float_info.max
"""The most that a float can be. An int may be more, and ends the actor that adds it to the time."""
