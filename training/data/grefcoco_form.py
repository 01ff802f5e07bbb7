"""Writing references in gRefCOCO's form: it lives where exports of searches can reach it too."""

from model.grefcoco_form import INSTANCES, NO_TARGET, REFERENCES, Reference, write, write_refs

__all__ = ["INSTANCES", "NO_TARGET", "REFERENCES", "Reference", "write", "write_refs"]
