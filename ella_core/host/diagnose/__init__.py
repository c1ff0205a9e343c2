"""The page of ELLA Diagnose."""
