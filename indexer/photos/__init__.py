"""One untrusted photo: decoded in a process of its own, upright, with its facts."""
