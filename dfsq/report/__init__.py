"""Evaluation results as JSON, CSV, Markdown and HTML, and the gates that judge them. Nothing here imports torch."""
