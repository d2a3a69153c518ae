"""Measure time, memory and accuracy of one whole optimizer step, beside other packages and its matrix products."""
