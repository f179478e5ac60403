"""Training of registration: weights that work on any map, or weights fitted to one."""
