"""Jobs on a cluster: submit, follow, cancel."""
