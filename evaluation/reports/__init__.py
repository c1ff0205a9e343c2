"""What the command report puts on a page: scores beside published ones, plots, and the prompts that say most."""
