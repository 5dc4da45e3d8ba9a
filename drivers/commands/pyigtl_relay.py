"""The outside peer of the latency benchmark: a relay of a pyigtl client and a pyigtl server, and nothing else."""

from __future__ import annotations

import sys

import pyigtl


def main() -> None:
    """`python -m drivers.commands.pyigtl_relay SOURCE_PORT OUTPUT_PORT`: hand on every IMAGE of device `Fluoro`."""
    source_port, output_port = int(sys.argv[1]), int(sys.argv[2])
    server = pyigtl.OpenIGTLinkServer(port=output_port, local_server=True)
    client = pyigtl.OpenIGTLinkClient("127.0.0.1", source_port)
    print("ready", flush=True)
    while True:
        message = client.wait_for_message("Fluoro", timeout=1.0)
        if message is not None and server.is_connected():
            server.send_message(message)


if __name__ == "__main__":
    main()
