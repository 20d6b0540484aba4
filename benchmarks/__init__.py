"""The figures we claim; each benchmark is a command that prints one JSON object last."""
