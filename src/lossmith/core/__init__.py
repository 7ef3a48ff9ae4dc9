"""What a loss is: framework-free definitions on arrays, the catalogue of them, and the spec language."""
