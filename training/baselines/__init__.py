"""Earlier methods, small and for comparison alone: LAVT and VLT, with their decoders or ReLA's."""
