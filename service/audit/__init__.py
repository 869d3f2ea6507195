"""What was said, by which model, about which input: recorded durably before it is answered."""
