"""Workflows of the earlier ELLA packs rewired for this one. Standard library only, so that it runs anywhere."""
