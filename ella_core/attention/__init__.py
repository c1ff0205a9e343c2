"""What a connector attends to, from noise to picture."""
