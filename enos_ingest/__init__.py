"""The hub end of the EnOS IoT device protocol, to run yourself."""

__all__ = ["__version__"]

__version__ = "0.1.0"
