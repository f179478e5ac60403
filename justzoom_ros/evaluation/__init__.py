"""How good it is: figures, recordings replayed, methods side by side."""
