"""Models: where their parts are, how they are loaded, asked, answered and injected into."""
