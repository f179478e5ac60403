"""Photos with positions as other people's tools leave them, read to build a dataset of."""
