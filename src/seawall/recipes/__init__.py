"""Recipes: one TOML file describes every stage, one command runs them all into one folder."""
