"""The CPU engine: compiles programs to native code with LLVM."""
