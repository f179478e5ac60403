"""Making a dataset of photos with positions: which are kept, and why the others are not."""
