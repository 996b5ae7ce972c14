"""What is converted: one folder per model family, and `base`, which crosses all borders."""
