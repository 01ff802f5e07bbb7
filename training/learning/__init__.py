"""The trainer: losses, optimizers, steps, whole runs, and the prefilter trained apart."""
