"""Order, retries, clock and I/O: Prefect flows, the command line, adapters."""
