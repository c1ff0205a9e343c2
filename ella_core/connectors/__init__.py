"""Connectors: text states and timesteps -> the tokens that a diffusion UNet attends to."""
