"""Stage 4: model and adapter -> answers on real media, verdicts, figures."""
