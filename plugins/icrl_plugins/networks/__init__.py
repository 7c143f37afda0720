"""Networks of K independent tasks stacked along a leading axis, so that all tasks take one batched step together."""
