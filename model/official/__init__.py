"""The released early-fusion networks: their parts, their weights, and what verifies with them."""
