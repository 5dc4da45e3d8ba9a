"""The other end of each wire: simulated devices; they share the codecs of `guidance` and nothing of `drivers`."""
