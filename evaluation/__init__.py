"""Does the picture follow the prompt? Suites, judges and scores for any ComfyUI workflow; see docs/evaluation.md."""
