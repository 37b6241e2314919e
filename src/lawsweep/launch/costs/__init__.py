"""What runs are expected to cost, and how long a launch would take."""
