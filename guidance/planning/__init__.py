"""Planning: zones as distance fields and surfaces, clearance, corridors, views; instruments and approaches as data."""
