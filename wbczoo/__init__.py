"""wbczoo composes white blood cell classifiers from plugins, measures and ships them."""

__version__ = "0.1.0"
