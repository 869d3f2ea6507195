"""HTTP, and nothing but HTTP: these modules translate between requests and the rooms."""
