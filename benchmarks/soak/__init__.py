"""What hours of searching leave behind: memory, files, sockets, connections, processes."""
