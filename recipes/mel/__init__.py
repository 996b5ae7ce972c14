"""Log-mel front ends: any library's numbers, without a network behind them."""
