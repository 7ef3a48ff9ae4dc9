"""The records of the losses, family by family; `catalogue.py` has them all by name."""
