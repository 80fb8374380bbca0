"""The commands of `leadscore`, one module per subject; heavy imports are inside the functions."""
