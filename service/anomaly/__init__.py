"""When a score is an anomaly, and how often that may be wrong: numpy, no model and no HTTP."""
