"""Where runs are executed: in this process, or on Ray."""
