"""What every sound loss obeys, one small function a law.

A law takes a `Subject`, and raises `Broken` with what was expected and what came, or `Skipped` where it does not apply.
`LAWS` holds them all by name; the docstring's first line is the statement that a report shows.
"""

from lossmith.check import values as values

# isort: split
from lossmith.check import manners as manners  # entered behind them
from lossmith.check.law import LAWS as LAWS
