"""Readers of further public sets, each from its files as published. `registry` lists them with licence and judge."""
