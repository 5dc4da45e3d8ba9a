"""Alerts that latch until they are acknowledged and no longer true."""
