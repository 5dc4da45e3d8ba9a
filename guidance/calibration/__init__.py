"""Calibration of a gantry: pictures of a bead phantom to a table of projections."""
