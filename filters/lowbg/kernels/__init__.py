"""Everything that is compiled, and the one door to numba and LLVM (`compiler`, `vectors`)."""
