"""Bytes to messages and back, for every protocol; sans-IO."""
