"""The distances, in metres, that metrics are taken at: one definition of each."""

RECALL_RADII_M = (5, 10, 25, 40, 50, 100)
"""R@5m .. R@100m: shares of errors of at most so much."""

NEAR_M = 50.0
"""What counts as near: the truth to the guess in the ECE and in the recall while training, the
mass to the truth in the cost of convergence and in calibration, and the mass to the point of least
risk. The metrics' names say 50m."""

CONVERGENCE_RADII_M = (50, 25)
"""A sequence has converged when its errors stay within so much."""

SOON_M = 500.0
"""A sequence that converges within this distance has done so soon."""
