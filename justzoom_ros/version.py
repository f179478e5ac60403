"""The version of the package, which lower rooms may ask for too."""

__version__ = '0.1.0'
