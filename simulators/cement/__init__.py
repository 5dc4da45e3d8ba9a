"""Cement that grows in a patient, with the truth of it; knows nothing of how the server follows cement."""
