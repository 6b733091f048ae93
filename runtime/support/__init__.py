"""Native support code: the program driver, the thread pool, the custom GEMM, and access to Python objects."""
