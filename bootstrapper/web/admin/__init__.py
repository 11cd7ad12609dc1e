"""The admin plane: a JSON API and pages on a listener of its own, for the admin alone (design.md section 2)."""
