"""From a policy's probabilities to a fix: search, posterior, decision."""
