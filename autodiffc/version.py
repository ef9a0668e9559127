"""The version of the package, also written into what it generates."""

__version__ = "0.1.0"
