"""The command engine: from an authenticated RMCP message to pins and replies."""
