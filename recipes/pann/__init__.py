"""PANN: Pretrained Audio Neural Networks (Kong et al. 2020)."""
