"""Laws that every sound loss obeys, for anyone's loss: ``check(MyLoss, "binary")``."""

from lossmith.check.run import Report, Result, check

__all__ = ["Report", "Result", "check"]
