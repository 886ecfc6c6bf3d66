"""What one person does on one machine: score files, run everything at once, look at the result."""
