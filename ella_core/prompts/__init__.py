"""What is known of a prompt before and after a language model read it."""
