"""Execute in processes of this machine, without a Ray."""
