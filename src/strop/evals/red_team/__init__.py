"""The red team: attacks with benign twins, detectors whose errors are measured, and two-sided rates."""
