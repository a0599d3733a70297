"""What advice earns, judged by the runs that were assigned at random to have it or not."""
