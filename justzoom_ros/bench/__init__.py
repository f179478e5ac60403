"""How fast, how large: measured side by side in one process, as ratios that a busy machine cannot
distort."""
