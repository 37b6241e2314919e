"""What every kernel uses: names, threads, memory."""
