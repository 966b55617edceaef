"""Kernels for CPUs in C++, for models so small that PyTorch's operators spend their time between products."""
