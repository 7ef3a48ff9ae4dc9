"""Loss functions for images: written once, checked, compared on your own data.

This package imports no framework. The losses are in `lossmith.torch`, the comparison in `lossmith.lab`.
"""

__version__ = "0.1.0"

__all__ = ["__version__"]
