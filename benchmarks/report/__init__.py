"""What the HTML report of a long run takes."""
