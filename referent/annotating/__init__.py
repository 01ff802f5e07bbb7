"""Writing expressions for photos with known instances, as section 3.2 of the paper has it."""
