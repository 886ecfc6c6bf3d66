"""What is kept of people's faces: where and for how long, the sweep of a data folder, and forgetting a stream."""
