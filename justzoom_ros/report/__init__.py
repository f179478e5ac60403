"""Pages for a browser: one file with everything in it, readable without a network."""
