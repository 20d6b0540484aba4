"""What the page of a report says, as rows and figures for its templates."""
