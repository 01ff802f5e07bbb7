"""The catalog's tables, their migrations, its clock, and who holds a lease in it."""
