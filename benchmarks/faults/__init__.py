"""What a search loses to faults: processes killed, servers away, disks full, clocks that jump."""
