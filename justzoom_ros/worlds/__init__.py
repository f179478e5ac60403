"""Invented places to fly over and drive through: a town, a city, the demo. Nothing below imports
them."""
