"""Answers for operators: the health of a system, its processes, and the metrics of workers."""
