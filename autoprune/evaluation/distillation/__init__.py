"""What a pruned model learns from the dense one."""
