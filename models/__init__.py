"""Network architectures: torch modules only. No files, no training loops, no export."""
