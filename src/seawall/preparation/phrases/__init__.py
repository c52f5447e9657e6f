"""What the extraction knows about English: how requests begin, where their clauses end, and which words refer to
something outside."""
