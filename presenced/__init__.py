"""presenced: what you follow and the sessions you are in, the same on all your devices."""

__version__ = "0.1.0"
