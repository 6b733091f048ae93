"""Programs: plans as plain data, and linked with memory and buffers, ready to be called."""
