"""A world of coloured shapes, small enough to be solved on two CPU cores; see docs/small_world.md."""
