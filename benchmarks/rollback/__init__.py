"""What rollback is worth: against plain switches, on planted harm, and byte by byte."""
