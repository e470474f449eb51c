"""Halite: host tools and simulated rack for the Halite rack controller."""

__version__ = "0.1.0"
