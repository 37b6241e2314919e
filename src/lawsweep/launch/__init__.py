"""The loop: plan minus table is what to run; outcomes stream into the table."""
