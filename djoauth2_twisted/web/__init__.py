"""What turns requests into values and decisions into responses."""
