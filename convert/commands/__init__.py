"""The commands: what each takes and prints. Heavy imports happen inside the one that needs them."""
