"""The sensitivity table: units cut one at a time, and what each gives up."""
