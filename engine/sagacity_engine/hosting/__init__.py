"""What the embedded engine is made of: it carries runs on, from a durable intent to a call and back."""
