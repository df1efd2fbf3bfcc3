"""One module for each exchange: the task that begins it, and the function that answers it."""
