"""The steps, oldest first; none is ever changed once it was released."""
