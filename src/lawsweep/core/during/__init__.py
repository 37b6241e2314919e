"""What a run may do while it is under way: report a curve, keep a checkpoint, leave files."""
