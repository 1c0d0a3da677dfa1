"""Designs, pools and clusters: what may be built, what it carries, and the plan that comes out."""
