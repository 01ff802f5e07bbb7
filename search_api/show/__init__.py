"""What a run is made into: masks on photos, exports, cut-outs; no HTTP."""
