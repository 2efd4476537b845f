"""Builders of NengoDL 3's operators, for what it leaves to Python, and for XLA."""
