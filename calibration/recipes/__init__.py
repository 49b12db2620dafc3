"""Recipes: what a method can be told, typed by the method, and the YAML files that ship with the package."""
