"""Does the picture follow the prompt? Suites, judges and scores for any workflow of any ComfyUI; see docs/evaluation.md."""
