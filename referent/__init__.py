"""The command line: thin commands over plain functions of the folders below."""
