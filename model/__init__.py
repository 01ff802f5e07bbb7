"""The networks and all that turns pixels and files into answers: no database, queue or HTTP."""
