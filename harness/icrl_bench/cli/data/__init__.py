"""`icrl-bench data`: what was collected, whether it is whole, whence it comes and when it goes."""
