"""`afterword resize`: more partitions, or fewer, through a new generation of the topics."""
