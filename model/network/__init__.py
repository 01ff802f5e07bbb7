"""What is trained: the late-fusion network, its parts and configuration, and the pixels it sees."""
