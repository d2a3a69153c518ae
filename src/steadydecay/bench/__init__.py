"""Time, memory and accuracy of one whole optimizer step, beside other packages and the matrix products it needs."""
