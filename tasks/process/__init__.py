"""What a worker process has at hand: models, memory, time, retries."""
