"""The language that kernels are written in: values, loops, functions, LLVM text. It knows no operator."""
