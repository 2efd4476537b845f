"""The version of the package, which its metadata and its documentation take from here."""

__version__ = "0.1.0"
