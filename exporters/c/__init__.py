"""C99 without a runtime: a graph as one function, a few kernels that it calls, and a program around it."""
