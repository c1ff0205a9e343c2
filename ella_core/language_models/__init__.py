"""Frozen language models: text -> text states."""
