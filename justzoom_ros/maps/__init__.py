"""Overhead imagery: building a map from files or tiles, and the map in memory."""
