"""A city that is generated from a seed, seen from above and from its streets.

One 3D scene gives both pictures, so that what a street camera sees and what the map shows belong
together as they do in a real city, down to the colours of walls and roofs.
"""
