"""A connector is trained onto a frozen diffusion model and a frozen language model; see docs/training.md."""
