"""People compare the pictures of several runs, blind; see docs/evaluation.md."""
