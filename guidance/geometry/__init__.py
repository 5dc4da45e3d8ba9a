"""Geometry: from voxel to pixel, link by link; pure functions on frozen values."""
